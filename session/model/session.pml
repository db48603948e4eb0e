/*
 * The life cycle of one session, as PROTOCOL.md describes it: its chapter 8 and
 * the rules 3, 4, 15 and 16. README.md says what is left out and what is checked.
 *
 * Side 0 is the opener, side 1 the acceptor. What stands between `atomic` braces
 * is one step of one side; between steps everything else may happen.
 */

/* What a configuration lets happen. All are numbers, so that each configuration
 * has the same lines. */
#ifndef MSGS
#define MSGS 1 /* messages that a side may send */
#endif
#ifndef SIGS
#define SIGS 0 /* signals that a side may send */
#endif
#ifndef CREDIT
#define CREDIT 1 /* signals that may be under way (16 in the protocol) */
#endif
#ifndef HASTE
#define HASTE 0 /* 1: timers end whenever they run. 0: when nothing else can happen */
#endif
#ifndef ABORTS
#define ABORTS 0 /* 1: applications may abort */
#endif
#ifndef LOSS
#define LOSS 0 /* 1: the link may be lost */
#endif
#ifndef HANGS
#define HANGS 0 /* 1: a side may stop for good while its QUIC stack lives on */
#endif
#ifndef BARE
#define BARE 0 /* 1: a side may end its stream with a bare FIN */
#endif
#ifndef BUG
#define BUG 0 /* the number of a deliberate fault; 0 is none */
#endif

/* With none of these, everybody keeps to the order of the diagrams. */
#define ORDERLY (!HASTE && !ABORTS && !LOSS && !HANGS && !BARE)
#define DUE (HASTE || timeout)

mtype:frame = { OPEN, ACCEPT, REJECT, SIGNAL, SIGNAL_ACK, CLOSE, CLOSE_ACK, DONE, FIN };
mtype:state = { fresh, opening, incoming, opened, closing, draining, closed };
mtype:cause = { none, own_close, peer_close, rejected, aborted, peer_aborted, unconfirmed, link_lost };
mtype:call = { idle, waiting, success, failure };
mtype:todo = { nothing, settle, say_ack, say_done, say_fin };

/* Codes. Those of a side carry its number. */
#define CODE_BARE 0
#define CODE_VIOLATION 1
#define CODE_INTERNAL 8
#define CODE_CLOSE(s) (10 + (s))
#define CODE_REJECT 20
#define CODE_ABORT(s) (30 + (s))

typedef Side {
	mtype:state st;
	mtype:cause cause = none;   /* what every call of the application gets */
	byte code;                  /* its code */
	mtype:cause firstCause = none;
	byte firstCode;             /* what was shown first, and must stay */
	byte beside = 255;          /* crossed: the peer's code, visible beside it */
	mtype:call call = idle;     /* the application's Close */
	mtype:todo todo = nothing;
	byte pending;               /* code of the peer's CLOSE, not shown yet */
	bit shy;                    /* its application never says anything first */

	bit answered;               /* the opener read ACCEPT */
	bit closeWritten;
	bit peerClosed;             /* read CLOSE or a bare FIN */
	bit peerBare;
	bit bare;                   /* ended its stream without CLOSE */
	bit ackWritten, ackRead;
	bit doneWritten, doneRead;

	bit finWritten, resetWritten, stopWritten;
	bit finRead, resetRead;
	bit reset, stop;            /* what travels to this side */
	bit finished;

	byte sent, early, received; /* messages */
	bit mute;                   /* sends no more of them */
	bit frozen;                 /* takes no more of them */
	bit knows;                  /* what the peer said of them is all here: */
	byte peerSent, peerReceived;
	bit complete;

	byte sigSent, sigAcked, sigReceived, sigTaken;
	bit sigCounts;
	byte sigSaidReceived, sigSaidTaken;
}

Side x[2];
bit dead;         /* the link is lost */
bit hung[2];
byte flying[2];   /* messages that travel to a side, in no order */
bool late;        /* a timer ended that no orderly history needs */

/* Frames that travel to a side: code, messages sent, received, signals
 * received, taken. Room for all that one side ever writes. */
chan to[2] = [4 + 2 * SIGS] of { mtype:frame, byte, byte, byte, byte, byte };

#define P (1 - s)

/* --- the stream ------------------------------------------------------- */

inline write(F, C, M, R, SR, SK) {
	assert(!x[s].finWritten && !x[s].resetWritten); /* nothing follows FIN */
	if
	:: dead
	:: else ->
		assert(nfull(to[P]));
		to[P]!F, C, M, R, SR, SK
	fi
}

inline writeFIN() {
	/* 8.9: not after CLOSE before CLOSE_ACK, or the peer's FIN in its place;
	 * and not before everything is written. */
	assert(!x[s].closeWritten || x[s].ackRead || x[s].finRead || x[s].cause == rejected);
	assert(x[s].todo == nothing || x[s].todo == say_fin);
	write(FIN, 0, 0, 0, 0, 0);
	x[s].finWritten = 1
}

/* over: the stream is over when both directions have ended (8.9). */
inline over() {
	x[s].finished = (x[s].finWritten || x[s].resetWritten) && (x[s].finRead || x[s].resetRead || x[s].stopWritten)
}

/* tear sends whatever of RESET_STREAM and STOP_SENDING was not sent and the
 * stream still allows (8.7). */
inline tear() {
	if
	:: x[s].resetWritten
	:: !x[s].resetWritten && !x[s].finWritten ->
		x[s].resetWritten = 1;
		x[P].reset = !dead
	:: !x[s].resetWritten && x[s].finWritten && !x[P].finRead -> /* FIN may not be acknowledged */
		x[s].resetWritten = 1;
		x[P].reset = !dead
	:: !x[s].resetWritten && x[s].finWritten
	fi;
	if
	:: x[s].stopWritten || x[s].finRead || x[s].resetRead
	:: else ->
		x[s].stopWritten = 1;
		x[P].stop = !dead
	fi;
	over()
}

/* --- the end of a session --------------------------------------------- */

inline first() {
	if
	:: x[s].firstCause == none ->
		x[s].firstCause = x[s].cause;
		x[s].firstCode = x[s].code
	:: else
	fi
}

/* because sets the cause, once (Rule 16), and with that shows it. */
inline because(WHY, C) {
	if
	:: x[s].cause == none || BUG == 13 ->
		x[s].cause = WHY;
		x[s].code = C
	:: else
	fi;
	first()
}

inline end(WHY, C) {
	because(WHY, C);
	if
	:: x[s].call == waiting -> x[s].call = failure
	:: else
	fi;
	x[s].st = closed;
	x[s].todo = nothing;
	x[s].mute = 1;
	x[s].frozen = 1
}

inline abort(WHY, C) {
	end(WHY, C);
	tear()
}

inline answerAbort() {
	if
	:: BUG == 23 -> end(peer_aborted, CODE_ABORT(P))
	:: BUG != 23 -> abort(peer_aborted, CODE_ABORT(P))
	fi
}

/* confirm: Close returns success. Then the peer has the code, as its cause or
 * beside its own (8.5.4, 8.6), for it or what it withdrew. */
inline confirm() {
	assert(x[s].call == waiting);
	assert((x[P].cause == peer_close && x[P].code == x[s].code) || x[P].beside == x[s].code);
	assert(x[P].frozen);
	x[s].cause = own_close;
	first();
	x[s].call = success
}

/* completes: this side knows all counts (8.4), and they are the peer's. */
inline completes() {
	assert(x[s].knows && x[s].frozen && x[s].mute);
	assert(x[s].peerSent == x[P].sent && x[s].peerReceived == x[P].received);
	assert(x[P].frozen && x[P].mute);
	x[s].complete = 1
}

inline heard(M, R) {
	assert(M >= x[s].received && R <= x[s].sent); /* else a violation (5.5) */
	x[s].peerSent = M;
	x[s].peerReceived = R
}

/* signalsHeard keeps what decides on signals not seen taken (Rule 15). */
inline signalsHeard(SR, SK) {
	assert(SK <= SR && SR <= x[s].sigSent && SK <= x[P].sigTaken);
	x[s].sigCounts = 1;
	x[s].sigSaidReceived = SR;
	x[s].sigSaidTaken = SK
}

/* --- what is read (8.10) ----------------------------------------------- */

inline readCLOSE() {
	assert(!x[s].peerClosed);
	assert(s == 1 || x[s].answered);
	if
	:: x[s].st == incoming && BUG == 21 /* BUG: the application may still take it */
	:: x[s].st == incoming && BUG != 21 -> /* Rule 3: withdrawn, counts of 0 */
		x[s].st = draining;
		x[s].peerClosed = 1;
		x[s].pending = c;
		x[s].mute = 1;
		x[s].frozen = 1;
		x[s].peerSent = m;
		x[s].todo = settle
	:: x[s].st == opened ->
		x[s].st = draining;
		x[s].peerClosed = 1;
		x[s].pending = c;
		x[s].mute = (BUG != 10);
		heard(m, x[s].peerReceived);
		signalsHeard(sr, sk);
		x[s].todo = settle
	:: x[s].st == closing && x[s].bare -> /* Rule 4: over with that */
		end(own_close, CODE_BARE)
	:: x[s].st == closing && !x[s].bare && !x[s].closeWritten -> /* 8.6: leave the own CLOSE out */
		x[s].st = draining;
		x[s].peerClosed = 1;
		x[s].pending = c;
		x[s].mute = 1;
		heard(m, x[s].peerReceived);
		signalsHeard(sr, sk);
		x[s].todo = settle
	:: x[s].st == closing && !x[s].bare -> /* crossed, or treated like that */
		x[s].peerClosed = 1;
		x[s].pending = c;
		x[s].mute = 1;
		heard(m, x[s].peerReceived);
		signalsHeard(sr, sk);
		x[s].todo = settle;
		if
		:: BUG == 2 && x[s].closeWritten -> confirm()
		:: BUG != 2 || !x[s].closeWritten
		fi
	fi
}

inline readCLOSEACK() {
	assert(x[s].st == closing && x[s].closeWritten && !x[s].ackRead);
	x[s].ackRead = 1;
	confirm();
	if
	:: x[s].bare -> /* No DONE can be written: the totals are incomplete. */
		end(own_close, CODE_BARE)
	:: else ->
		heard(m, r);
		signalsHeard(sr, sk);
		/* CLOSE_ACK comes behind all the peer's signals, and says so of one's own. */
		assert(sr == x[s].sigSent);
		x[s].knows = 1;
		if
		:: !x[s].peerClosed -> x[s].todo = settle
		:: x[s].peerClosed && x[s].ackWritten ->
			completes();
			end(own_close, x[s].code);
			writeFIN()
		:: x[s].peerClosed && !x[s].ackWritten -> /* its own is still to come */
		fi
	fi
}

inline readFIN() {
	x[s].finRead = 1;
	if
	:: x[s].st == closed
	:: x[s].st == opening || (x[s].st == closing && s == 0 && !x[s].answered && !x[s].ackRead) ->
		end(rejected, CODE_INTERNAL);
		if
		:: x[s].finWritten
		:: else -> writeFIN()
		fi
	:: x[s].st == incoming || x[s].st == opened ||
	   (x[s].st == closing && !x[s].bare && !x[s].peerClosed && !x[s].ackRead && (s == 1 || x[s].answered)) ->
		/* a bare FIN: answered like a CLOSE with code 0; the own close fails */
		x[s].frozen = (x[s].st == incoming);
		x[s].st = draining;
		x[s].peerClosed = 1;
		x[s].peerBare = 1;
		x[s].pending = CODE_BARE;
		x[s].mute = 1;
		if
		:: x[s].call == waiting -> x[s].call = failure
		:: else
		fi;
		x[s].todo = settle
	:: x[s].st == closing && x[s].bare && !x[s].ackRead && (s == 1 || x[s].answered) ->
		end(own_close, CODE_BARE)
	:: x[s].st == closing && x[s].ackRead && !x[s].peerClosed /* DONE is still to come from here */
	:: x[s].st == closing && !x[s].bare && x[s].peerClosed -> /* Between correct sides there is */
		assert(false)                                     /* never: a FIN in place of CLOSE_ACK, */
	:: x[s].st == draining && x[s].doneRead
	:: x[s].st == draining && !x[s].doneRead ->
		assert(false)                                     /* never: or in place of DONE. */
	:: x[s].st == fresh ->
		assert(false)                                     /* never: violation */
	fi;
	over()
}

inline read() {
	to[s]?f, c, m, r, sr, sk;
	if
	:: f == FIN -> readFIN()
	:: f != FIN && x[s].st == closed ->
		/* 5.4, 8.10: after one's own REJECT or bare FIN the rest is ignored; else
		 * there is none. */
		assert(x[s].cause == rejected || x[s].bare);
		if
		:: BUG == 9 && f == CLOSE -> write(CLOSE_ACK, 0, 0, 0, 0, 0)
		:: BUG != 9 || f != CLOSE
		fi
	:: f == OPEN ->
		assert(x[s].st == fresh);
		x[s].st = incoming
	:: f == ACCEPT && x[s].st != closed ->
		assert(s == 0 && !x[s].answered && !x[s].ackRead);
		x[s].answered = 1;
		if
		:: x[s].st == opening || BUG == 14 -> x[s].st = opened
		:: x[s].st == closing && BUG != 14 /* Rule 3: ignored, CLOSE wins */
		fi
	:: f == REJECT && x[s].st != closed ->
		assert(s == 0 && !x[s].answered && !x[s].ackRead);
		assert(x[s].st == opening || x[s].st == closing);
		if
		:: x[s].st == opening || BUG != 5 ->
			end(rejected, c);
			if
			:: x[s].finWritten
			:: else -> writeFIN()
			fi
		:: x[s].st == closing && BUG == 5 /* BUG: waits for CLOSE_ACK */
		fi
	:: f == SIGNAL && x[s].st != closed ->
		assert(x[s].st == opened || (x[s].st == closing && !x[s].peerClosed && !x[s].ackRead));
		assert(s == 1 || x[s].answered);
		if
		:: BUG == 19 && x[s].closeWritten
		:: BUG != 19 || !x[s].closeWritten ->
			x[s].sigReceived++;
			assert(x[s].sigReceived - x[s].sigTaken <= CREDIT)
		fi
	:: f == SIGNAL_ACK && x[s].st != closed ->
		assert(x[s].st == opened || x[s].st == closing || x[s].st == draining);
		assert(!x[s].ackRead && !x[s].doneRead && sk <= x[s].sigSent && sk <= x[P].sigTaken);
		x[s].sigAcked = sk
	:: f == CLOSE && x[s].st != closed -> readCLOSE()
	:: f == CLOSE_ACK && x[s].st != closed -> readCLOSEACK()
	:: f == DONE && x[s].st != closed ->
		assert(x[s].st == draining && x[s].ackWritten && !x[s].doneRead);
		x[s].doneRead = 1;
		heard(x[s].peerSent, r);
		x[s].knows = 1;
		completes();
		if
		:: x[s].finWritten -> end(peer_close, x[s].pending)
		:: else /* with FIN */
		fi
	fi;
	f = OPEN; c = 0; m = 0; r = 0; sr = 0; sk = 0 /* fewer states */
}

/* --- a side and its application ----------------------------------------- */

proctype Run(bit s) {
	mtype:frame f = OPEN;
	byte c, m, r, sr, sk;

	atomic {
		if
		:: s == 0 ->
			x[s].st = opening;
			write(OPEN, 0, 0, 0, 0, 0)
		:: s == 1 ->
			x[s].st = fresh;
			if
			:: x[s].shy = 1
			:: x[s].shy = 0
			fi
		fi
	};
	do
	:: x[s].finished -> break

	/* The application. */
	:: atomic { x[s].st == incoming && !x[s].shy ->
		write(ACCEPT, 0, 0, 0, 0, 0);
		x[s].received = x[s].early;
		x[s].st = opened }
	:: atomic { x[s].st == incoming && !x[s].shy ->
		write(REJECT, CODE_REJECT, 0, 0, 0, 0);
		end(rejected, CODE_REJECT);
		writeFIN() }
	:: atomic { (x[s].st == opening || x[s].st == opened) && !x[s].shy && x[s].call == idle ->
		x[s].call = waiting;
		x[s].code = CODE_CLOSE(s);
		x[s].st = closing }
	:: atomic { x[s].st == draining && x[s].call == idle && !x[s].shy ->
		/* closes after the peer: no success (Rule 3) */
		if
		:: BUG == 20 -> x[s].code = CODE_CLOSE(s); x[s].call = waiting; confirm()
		:: BUG != 20 -> x[s].call = failure
		fi }
	:: atomic { ABORTS && (x[s].st == opening || x[s].st == opened || (x[s].st == closing && !x[s].peerClosed && !x[s].ackRead)) && !x[s].shy ->
		abort(aborted, CODE_ABORT(s)) }
	:: atomic { BARE && (x[s].st == opening || x[s].st == opened) && !x[s].shy && x[s].call == idle ->
		write(FIN, 0, 0, 0, 0, 0);
		x[s].finWritten = 1;
		x[s].bare = 1;
		x[s].closeWritten = 1;
		x[s].mute = 1;
		x[s].call = waiting;
		x[s].code = CODE_BARE;
		x[s].st = closing }
	:: atomic { BARE && x[s].st == incoming && !x[s].shy -> /* reads as a rejection (Rule 4) */
		write(FIN, 0, 0, 0, 0, 0);
		x[s].finWritten = 1;
		end(rejected, CODE_INTERNAL) }

	/* Messages, from its queue also while closing, until CLOSE is written. */
	:: atomic { (x[s].st == opening || x[s].st == opened || x[s].st == closing || BUG == 10) && !x[s].mute && x[s].st != fresh && x[s].st != incoming && x[s].sent < MSGS ->
		x[s].sent++;
		flying[P] = flying[P] + !dead }
	:: atomic { flying[s] > 0 ->
		flying[s]--;
		if
		:: x[s].frozen && BUG != 4 /* late: not delivered */
		:: x[s].frozen && BUG == 4 -> x[s].received++ /* BUG */
		:: !x[s].frozen && (x[s].st == fresh || x[s].st == incoming) -> x[s].early++
		:: !x[s].frozen && x[s].st != fresh && x[s].st != incoming ->
			assert(x[s].cause == none || x[s].cause == own_close);
			x[s].received++
		fi }

	/* Signals. */
	:: atomic { (x[s].st == opened || (BUG == 12 && x[s].st == draining)) && !x[s].shy && x[s].sigSent < SIGS && (x[s].sigSent - x[s].sigAcked < CREDIT || BUG == 15) ->
		x[s].sigSent++;
		write(SIGNAL, 0, 0, 0, 0, 0) }
	:: atomic { x[s].sigTaken < x[s].sigReceived && (x[s].st == opened || x[s].st == closing || (x[s].st == draining && x[s].cause == none)) ->
		x[s].sigTaken++;
		if
		:: x[s].bare || x[s].ackWritten || x[s].doneWritten || x[s].peerBare
		:: else -> write(SIGNAL_ACK, 0, 0, 0, 0, x[s].sigTaken)
		fi }

	/* What is owed. */
	:: atomic { x[s].st == closing && !x[s].closeWritten ->
		x[s].closeWritten = 1;
		x[s].mute = 1;
		write(CLOSE, CODE_CLOSE(s), x[s].sent, 0, x[s].sigReceived, x[s].sigTaken);
		if
		:: BUG == 3 -> to[P]!FIN, 0, 0, 0, 0, 0; x[s].finWritten = 1
		:: BUG != 3
		fi }
	:: atomic { x[s].todo == settle && (x[s].st != closing || x[s].closeWritten) ->
		/* The stragglers are here, or their time is over: 8.8. */
		x[s].frozen = (BUG != 8);
		if
		:: x[s].st == draining ->
			x[s].todo = say_ack;
			if
			:: BUG != 1 -> because(peer_close, x[s].pending)
			:: BUG == 1
			fi;
			if
			:: x[s].call == waiting -> x[s].call = failure
			:: else
			fi
		:: x[s].st == closing && x[s].peerClosed ->
			x[s].beside = x[s].pending;
			x[s].todo = say_ack
		:: x[s].st == closing && !x[s].peerClosed ->
			x[s].todo = say_done
		fi }
	:: atomic { x[s].todo == say_ack ->
		assert(!x[s].ackWritten);
		write(CLOSE_ACK, 0, x[s].sent, x[s].received, x[s].sigReceived, x[s].sigTaken);
		x[s].ackWritten = 1;
		x[s].todo = nothing;
		if
		:: x[s].st == draining -> x[s].todo = say_fin
		:: x[s].st == closing && x[s].ackRead ->
			completes();
			end(own_close, x[s].code);
			if
			:: BUG == 17 -> write(DONE, 0, 0, x[s].received, 0, 0)
			:: BUG != 17
			fi;
			writeFIN();
			over()
		:: x[s].st == closing && !x[s].ackRead && BUG == 18 -> x[s].todo = say_fin
		:: x[s].st == closing && !x[s].ackRead && BUG != 18
		fi }
	:: atomic { x[s].todo == say_done ->
		if
		:: BUG == 22
		:: BUG != 22 -> write(DONE, 0, 0, x[s].received, 0, 0)
		fi;
		x[s].doneWritten = 1;
		completes();
		x[s].todo = say_fin }
	:: atomic { x[s].todo == say_fin ->
		if
		:: BUG == 11 -> tear()
		:: BUG != 11 -> writeFIN()
		fi;
		x[s].todo = nothing;
		if
		:: x[s].st == draining && x[s].peerBare -> end(peer_close, x[s].pending)
		:: x[s].st == draining && !x[s].peerBare && x[s].doneRead -> end(peer_close, x[s].pending)
		:: x[s].st == draining && !x[s].peerBare && !x[s].doneRead /* DONE is awaited */
		:: x[s].st == closing -> end(own_close, x[s].code)
		fi;
		over() }

	/* The stream. */
	:: atomic { !dead && !x[s].stopWritten && !x[s].resetRead && nempty(to[s]) -> read() }
	:: atomic { !dead && x[s].reset ->
		/* erases what was not read; ignored after one's own STOP_SENDING, or FIN */
		x[s].reset = 0;
		if
		:: x[s].stopWritten || x[s].finRead
		:: else ->
			x[s].resetRead = 1;
			do
			:: nempty(to[s]) -> to[s]?_, _, _, _, _, _
			:: empty(to[s]) -> break
			od;
			answerAbort()
		fi }
	:: atomic { !dead && x[s].stop ->
		x[s].stop = 0;
		answerAbort() }

	/* Timers (11). */
	:: atomic { x[s].st == fresh && HASTE -> /* no complete OPEN */
		abort(aborted, CODE_VIOLATION) }
	:: atomic { x[s].st == closing && x[s].closeWritten && !x[s].ackRead && BUG != 6 && DUE ->
		late = 1;
		abort(unconfirmed, CODE_CLOSE(s)) }
	:: atomic { x[s].st == draining && x[s].ackWritten && x[s].todo == nothing && BUG != 7 && DUE ->
		late = 1;
		abort(peer_close, x[s].pending) }
	:: atomic { x[s].st == closed && x[s].finWritten && !x[s].finRead && !x[s].finished && BUG != 16 && DUE ->
		late = 1;
		tear() }

	/* What ends it from below. */
	:: atomic { LOSS && !dead -> dead = 1 }
	:: atomic { !x[s].finished && (dead || (hung[P] && (x[s].st == fresh || x[s].st == opening || x[s].st == incoming || x[s].st == opened) && DUE)) ->
		dead = 1;
		end(link_lost, 0);
		x[s].finished = 1 }
	:: atomic { HANGS && !hung[0] && !hung[1] ->
		hung[s] = 1;
		goto stopped }
	od;

	/* Every call has ended, and the cause stands. */
	assert(x[s].st == closed && x[s].cause != none && x[s].call != waiting);
	assert(x[s].cause == x[s].firstCause && x[s].code == x[s].firstCode);
	/* Rule 15: what can be said of signals is true, and in an orderly history
	 * the closer knows it of all. */
	assert(!x[s].sigCounts || (x[s].sigSaidReceived <= x[P].sigReceived && x[s].sigSaidTaken <= x[P].sigTaken));
	if
	:: atomic { x[0].finished && x[1].finished ->
		/* Who closed: never both the other. */
		assert(!(x[0].cause == peer_close && x[1].cause == peer_close));
		assert(x[0].cause != peer_close || x[1].closeWritten);
		assert(x[1].cause != peer_close || x[0].closeWritten);
		assert(x[0].cause != rejected || x[1].cause != rejected || x[0].code == x[1].code);
		/* A close that succeeded: still the peer's cause, or beside it. */
		assert(x[0].call != success || (x[1].cause == peer_close && x[1].code == x[0].code) || x[1].beside == x[0].code);
		assert(x[1].call != success || (x[0].cause == peer_close && x[0].code == x[1].code) || x[0].beside == x[1].code);
		/* Counts that are called complete are the other's to the end. */
		assert(!x[0].complete || (x[0].peerSent == x[1].sent && x[0].peerReceived == x[1].received));
		assert(!x[1].complete || (x[1].peerSent == x[0].sent && x[1].peerReceived == x[0].received));
		if
		:: ORDERLY ->
			assert(!late && !x[0].resetWritten && !x[1].resetWritten);
			assert((x[0].cause == rejected) == (x[1].cause == rejected));
			assert(x[0].cause == rejected || (x[0].complete && x[1].complete));
			assert(x[0].cause != own_close || x[0].call == success);
			assert(x[1].cause != own_close || x[1].call == success)
		:: else
		fi }
	:: else /* the last one looks */
	fi;
	goto out;
stopped:
	skip;
out:
	skip
}

init {
	atomic {
		run Run(0);
		run Run(1)
	}
}

#ifdef LTL
/* The same as the assertions at the end, said of every history: a Close that
 * was called ends, unless its process has stopped for good. */
ltl closes { [] ((x[0].call == waiting) -> <> (x[0].call != waiting || hung[0]))
          && [] ((x[1].call == waiting) -> <> (x[1].call != waiting || hung[1])) }
#endif
