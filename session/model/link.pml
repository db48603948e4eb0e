/*
 * Second tries and the end of a link, as PROTOCOL.md describes them: Rule 10,
 * sections 9.3 and 9.4, and what GOAWAY says in 5.5. README.md says what is left
 * out and what is checked.
 *
 * An opener asks for one session, on the link 0, and where it may on a fresh
 * link, 1. Its peer, the server, answers, goes away, or closes a link as idle.
 */

#ifndef LOSS
#define LOSS 0 /* 1: links may be lost at any time */
#endif
#ifndef HASTE
#define HASTE 0 /* 1: deadlines end at any time. 0: when nothing else can happen */
#endif
#ifndef IDLE
#define IDLE 1 /* 1: links without sessions are closed at any time */
#endif
#ifndef BUG
#define BUG 0 /* the number of a deliberate fault; 0 is none */
#endif
#define DUE (HASTE || timeout)

mtype:frame = { OPEN, ACCEPT, REJECT, RESET };
mtype:result = { none, accepted, rejected, aborted, unknown, not_acted };

#define NORMAL 0
#define BUSY 3
#define GOING_AWAY 5
#define INTERNAL 8
#define LINK_IDLE 9
#define OWN 20   /* the application's */
#define OPENED 255 /* no CONNECTION_CLOSE */

#define TRIES 2

typedef Link {
	bit dead;
	byte closedByServer = OPENED, closedByOpener = OPENED;
	bit finToServer;    /* the opener's, or its reset */
	bit away, awayRead; /* GOAWAY was sent, and read */
	byte firstRefused;  /* 0 or 1: this link has one session at most */
	bit openRead;       /* by the server */
	bit seen;           /* by its application */
	bit acted;          /* seen, or answered other than with REJECT, going away */
	bit replied;        /* the server sent ACCEPT or REJECT, or a reset */
	bit answerRead;     /* by the opener */
	bit over;           /* the stream, for the server */
	bit done;           /* the opener will read nothing more of it */
}

Link l[TRIES];
/* QUIC keeps order on a stream, and none between streams. */
chan toServer[TRIES] = [1] of { mtype:frame };
chan toOpener[TRIES] = [2] of { mtype:frame, byte };
byte try;
bit opened;           /* the opener has sent its OPEN on link try */
mtype:result result = none;
bit forced;           /* a deadline ended the link of an OPEN without an answer */

#define usable(k) (!l[k].dead && l[k].closedByServer == OPENED && l[k].closedByOpener == OPENED)

inline fails(WHY) {
	if
	:: (WHY == not_acted) && try + 1 < TRIES ->
		/* The second try, unseen by the application: Rule 10. */
		assert(!l[try].acted);
		l[try].done = 1;
		try++;
		opened = 0
	:: (WHY == not_acted) && try + 1 == TRIES ->
		assert(!l[try].acted);
		result = not_acted
	:: (WHY != not_acted) ->
		result = WHY
	fi
}

proctype Opener() {
	mtype:frame f = OPEN;
	byte code;

	do
	:: result != none -> break
	:: atomic { result == none && !opened ->
		opened = 1;
		if
		:: usable(try) -> toServer[try]!OPEN
		:: else /* is lost in a link that ends just now */
		fi }
	:: atomic { result == none && opened && !l[try].dead && l[try].closedByServer == OPENED && nempty(toOpener[try]) ->
		toOpener[try]?f, code;
		l[try].answerRead = 1;
		l[try].finToServer = 1;
		if
		:: f == ACCEPT -> result = accepted
		:: f == RESET -> result = aborted
		:: f == REJECT && code == GOING_AWAY -> fails(not_acted)
		:: f == REJECT && code != GOING_AWAY -> result = rejected
		fi;
		f = OPEN; code = 0 }
	:: atomic { result == none && opened && usable(try) && l[try].away && !l[try].awayRead ->
		l[try].awayRead = 1;
		if
		:: l[try].firstRefused == 0 ->
			/* REJECT, if the server reads OPEN, changes nothing any more. */
			fails(not_acted)
		:: l[try].firstRefused != 0 -> /* the answer comes */
			if
			:: BUG == 6 -> fails(not_acted)
			:: BUG != 6
			fi
		fi }
	/* CONNECTION_CLOSE: what was not read is lost. */
	:: atomic { result == none && opened && !l[try].dead && l[try].closedByServer != OPENED ->
		if
		:: l[try].closedByServer == LINK_IDLE || BUG == 3 -> fails(not_acted)
		:: l[try].closedByServer != LINK_IDLE && BUG != 3 -> fails(unknown)
		fi }
	:: atomic { result == none && opened && l[try].dead ->
		if
		:: BUG == 4 -> fails(not_acted)
		:: BUG != 4 -> fails(unknown)
		fi }
	od;
	l[try].done = 1;
	/* The session's life after ACCEPT is another model's: here it ends. The last
	 * reader closes the link: 9.4, step 3. */
	do
	:: atomic { !l[try].dead && l[try].closedByServer == OPENED && l[try].closedByOpener == OPENED && l[try].away ->
		l[try].awayRead = 1;
		l[try].closedByOpener = NORMAL }
	:: l[try].dead || l[try].closedByServer != OPENED || l[try].closedByOpener != OPENED -> break
	od
}

inline answer(F, C) {
	l[k].replied = 1;
	if
	:: usable(k) -> toOpener[k]!F, C
	:: else
	fi
}

inline hangUp(C) {
	l[k].closedByServer = C
}

/* Server is the peer's endpoint on one link. */
proctype Server(byte k) {
	do
	:: l[k].dead || l[k].closedByServer != OPENED || l[k].closedByOpener != OPENED -> break
	:: atomic { usable(k) && nempty(toServer[k]) ->
		toServer[k]?_;
		l[k].openRead = 1;
		if
		:: l[k].away && BUG != 2 -> answer(REJECT, GOING_AWAY)
		:: !l[k].away || BUG == 2 -> l[k].seen = 1; l[k].acted = 1
		:: !l[k].away -> l[k].acted = 1; answer(REJECT, BUSY)
		fi }
	:: atomic { usable(k) && l[k].seen && !l[k].replied -> l[k].acted = 1; answer(ACCEPT, 0) }
	:: atomic { usable(k) && l[k].seen && !l[k].replied -> answer(REJECT, OWN) }
	/* The application gives the session up as soon as it has it. */
	:: atomic { usable(k) && l[k].seen && !l[k].replied -> answer(RESET, OWN); l[k].over = 1 }
	:: atomic { l[k].openRead && l[k].replied && l[k].finToServer && !l[k].over -> l[k].over = 1 }
	:: atomic { l[k].openRead && l[k].replied && !l[k].over && HASTE -> l[k].over = 1 } /* 8.9: 5 s after FIN */
	/* 9.4, step 1. */
	:: atomic { usable(k) && !l[k].away ->
		l[k].away = 1;
		l[k].firstRefused = (l[k].acted && BUG != 7);
		if
		:: l[k].seen && !l[k].replied && BUG == 8 -> answer(REJECT, GOING_AWAY)
		:: l[k].seen && !l[k].replied && BUG != 8 -> answer(REJECT, INTERNAL)
		:: !l[k].seen || l[k].replied
		fi;
		if
		:: BUG == 9 -> hangUp(NORMAL)
		:: BUG != 9
		fi }
	/* 9.4, step 4. */
	:: atomic { usable(k) && l[k].away && DUE -> forced = (forced || (k == try && result == none)); hangUp(NORMAL) }
	/* 9.3: no session here, for 20 s. By then what ended the last one has arrived,
	 * or the opener has found the link lost. */
	:: atomic { IDLE && usable(k) && ((!l[k].openRead || l[k].over || BUG == 1) && (!l[k].acted || l[k].answerRead || BUG == 1 || BUG == 5)) ->
		hangUp(LINK_IDLE) }
	:: atomic { LOSS && usable(k) -> l[k].dead = 1 }
	od
}

init {
	atomic {
		run Server(0);
		run Server(1);
		run Opener()
	};
	(_nr_pr == 1);
	/* Every attempt ends, and no application is asked twice. */
	assert(result != none);
	assert(l[0].seen + l[1].seen <= 1);
	assert(result != accepted || l[try].seen);
	/* In order, nobody is left in doubt. */
	assert(LOSS || HASTE || (result != unknown && !forced))
}

#ifdef LTL
ltl ends { <> (result != none) }
#endif
