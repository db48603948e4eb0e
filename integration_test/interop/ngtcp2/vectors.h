#pragma once
// Runs the codec through the two files of test vectors, prints the outcome as a line of JSON, and returns the status.
int vectors_run(const char *frames, const char *datagrams);
