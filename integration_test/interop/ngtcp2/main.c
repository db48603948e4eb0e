#include <ngtcp2/ngtcp2.h>
#include <stdio.h>
#include <string.h>

#include "cases.h"
#include "vectors.h"

static int usage(void) {
	fputs("usage: peer --version | vectors FRAMES DATAGRAMS | --role listen|dial --case CASE --address ADDRESS"
	      " --cert FILE --key FILE --peer-id ID\n", stderr);
	return 2;
}

int main(int argc, char **argv) {
	static const char *const names[] = {"--role", "--case", "--address", "--cert", "--key", "--peer-id"};
	const char *values[6] = {0};
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("{\"stack\":\"ngtcp2\",\"version\":\"%s\",\"language\":\"C\"}\n", ngtcp2_version(0)->version_str);
		return 0;
	}
	if (argc == 4 && strcmp(argv[1], "vectors") == 0) return vectors_run(argv[2], argv[3]);
	if (argc != 13) return usage();
	for (int i = 1; i < argc; i += 2) {
		int k = 0;
		while (k < 6 && strcmp(argv[i], names[k]) != 0) k++;
		if (k == 6) return usage();
		values[k] = argv[i + 1];
	}
	for (int k = 0; k < 6; k++)
		if (!values[k]) return usage();
	int dial = strcmp(values[0], "dial") == 0;
	if (!dial && strcmp(values[0], "listen") != 0) return usage();
	int status = case_run(values[1], values[2], dial, values[3], values[4], values[5]);
	return status == 2 ? usage() : status;
}
