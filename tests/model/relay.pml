/* The life of a notification, from acceptance to its end: what may go wrong between, and what must not.

   Each move below is one transaction of the journal, or one event outside it (a byte leaves, an answer comes, a process
   dies). README.md names, for each guard, the file of the relay that holds it. A guard is taken away by -DNO_<name>;
   with the guard in place every assertion holds, without it Spin finds the way to break one.

   Bounds (-D…): REPLICAS, TASKS_EACH (deliveries at once in a replica), N (notifications), and how often each thing
   may go wrong: CRASHES, SUSPICIONS (a process that lives is declared dead), DOUBTS (a commit nobody heard of),
   HOLDS (pause, quiet hours, a breaker), PASSES (a refusal that passes; an account that cannot take the call). */

#ifndef REPLICAS
#define REPLICAS 3
#endif
#ifndef TASKS_EACH
#define TASKS_EACH 1
#endif
#ifndef N
#define N 2
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef SUSPICIONS
#define SUSPICIONS 1
#endif
#ifndef DOUBTS
#define DOUBTS 1
#endif
#ifndef HOLDS
#define HOLDS 1
#endif
#ifndef PASSES
#define PASSES 1
#endif
#ifndef FAILOVERS
#define FAILOVERS 0
#endif
#define TASKS (REPLICAS * TASKS_EACH)
#define NOBODY 7
#define DEAD 6            /* a process that is no more: none comes back, and all dead ones are alike */

/* --- what the journal keeps ---------------------------------------------------------------------------------- */

#define FREE 0
#define QUEUED 1
#define OWNED 2
#define DONE 3
byte row[N];           /* of a notification */
byte owner[N];         /* a replica as it lives now, DEAD or NOBODY */
bit first[N];          /* the fence is the one that it was accepted under */
bit synchronous[N];
bit waits[N];          /* queued, and not due: scheduled, held */
bit key_freed[N];

#define ABSENT 0
#define CLAIMED 1
#define DIALLING 2
#define CLOSED 3
byte call[N * 2];      /* two calls a notification: two chunks, or one and what follows it */
bit dialled[N * 2];    /* was DIALLING once: bytes may have left */
bit follows[N * 2];    /* goes to the recipient of the first call again (a half, a second attempt, the next account) */

#define NONE 0
#define SENT 1
#define NOT_SENT 2     /* certainly; a rejection of the upstream too */
#define UNKNOWN 3
#define REPLACED 4
byte outcome[N * 2];

/* --- the world outside ---------------------------------------------------------------------------------------- */

byte effect[N * 2];    /* texts that a recipient got from this notification */
bit told_no[N];        /* the caller has 503: nothing was sent and nothing will be */
bit settled[N];        /* an operator said what happened, right or wrong */

/* --- what a replica knows, and loses when it dies --------------------------------------------------------------- */

#define IDLE 0
#define SENDING 1
#define RECOVERING 2   /* took over from one that seemed dead */
#define DISOWNING 3    /* ends what nobody was promised */
#define CLAIM_IN_DOUBT 4
#define TAKE_IN_DOUBT 5
byte phase[TASKS];
byte note[TASKS] = NOBODY; /* the notification */
byte under[TASKS];     /* the fence of its lease: how it stands to that of the row */
bit lost[TASKS];
bit hold[TASKS];
bit right[TASKS];      /* the claim in doubt gave the right to dial, which was not used */

/* Of a fence nothing counts but whether it is still the row's: a later one makes every earlier one STALE. NEXT is what
   a take believes to have got whose commit failed unheard. */
#define STALE 0
#define CURRENT 1
#define NEXT 2

#define NOTHING 0
#define PENDING 1      /* to be dialled */
#define RIGHT 2        /* the journal authorised the dial */
#define GOT_SENT 7     /* an outcome to be recorded */
#define GOT_REJECTED 8
#define GOT_PASSES 9
#define GOT_UNKNOWN 10
#define GOT_UNKNOWN_LATE_SENT 11      /* unknown, and the answer comes later */
#define GOT_UNKNOWN_LATE_REJECTED 12
#define NEVER_DIALLED 13 /* gives up before it was authorised */
#define AGAIN 14         /* the same, and plans it once more */
#define LATE_SENT 15
#define LATE_REJECTED 16
#define CLOSE_UNKNOWN 17
#define CLOSE_UNSENT 18
byte now[TASKS * 2];   /* where each call of the delivery is */
bit repeated[TASKS * 2];

byte crashes = CRASHES, suspicions = SUSPICIONS, doubts = DOUBTS, holds = HOLDS, passes = PASSES;

#if FAILOVERS > 0
/* What a standby holds that has not heard of the last commits. (One notification, which it has heard of: what it never
   heard of is lost, and the promise needs synchronous replication.) */
byte failovers = FAILOVERS;
bit has_copy;
byte copied_row, copied_owner, copied_call[2], copied_outcome[2];
bit copied_first, copied_waits, copied_dialled[2], copied_follows[2];
#endif

#define T _pid
#define R (T % REPLICAS)
#define X(n, c) ((n) * 2 + (c))
#define V(c) now[T * 2 + (c)]
#define RP(c) repeated[T * 2 + (c)]
#define n_ note[T]
#define K(c) X(note[T], c)

/* --- the guards --------------------------------------------------------------------------------------------- */

#ifdef NO_OWNER
#define IS_OWNER(n) 1
#else
#define IS_OWNER(n) (owner[n] == R)
#endif
#ifdef NO_FENCE
#define UNDER_FENCE(n) 1
#else
#define UNDER_FENCE(n) (under[T] == CURRENT)
#endif
#define MINE(n) (row[n] == OWNED && IS_OWNER(n) && UNDER_FENCE(n))
/* The statements of a dial and of a record look at owner and fence; an ended or queued row has no owner. */
#ifdef NO_CLAIMED
#define MAY_BE_DIALLED(k) (call[k] != ABSENT)
#else
#define MAY_BE_DIALLED(k) (call[k] == CLAIMED)
#endif
#ifdef NO_UNDIALLED
#define FROM_DIALLING(k, undialled) (call[k] == DIALLING)
#else
#define FROM_DIALLING(k, undialled) (call[k] == DIALLING && (!(undialled) || MINE(n_)))
#endif
#ifdef NO_CLOSING_LEASE
#define FROM_CLAIMED(k, unsent) (call[k] == CLAIMED && (unsent))
#else
#define FROM_CLAIMED(k, unsent) (call[k] == CLAIMED && (unsent) && MINE(n_))
#endif
#ifdef NO_DIALLED
#define NEVER_OUT(n) (call[X(n, 0)] != CLOSED && call[X(n, 1)] != CLOSED)
#define MAY_CANCEL(n) 1
#else
#define NEVER_OUT(n) (!dialled[X(n, 0)] && !dialled[X(n, 1)])
#define MAY_CANCEL(n) NEVER_OUT(n)
#endif
#ifdef NO_PUT_BACK_LEASE
#define MAY_PUT_BACK(n) (row[n] != DONE)
#else
#define MAY_PUT_BACK(n) (MINE(n))
#endif
#ifdef NO_COMPLETION_ONCE
#define MAY_END(n) 1
#else
#define MAY_END(n) (row[n] != DONE)
#endif
#ifdef NO_ALL_CLOSED
#define ALL_CLOSED(n) 1
#else
#define ALL_CLOSED(n) (call[X(n, 0)] == CLOSED && (call[X(n, 1)] == CLOSED || call[X(n, 1)] == ABSENT))
#endif
#ifdef NO_SETTLE_ONLY_UNKNOWN
#define MAY_SETTLE(k) (call[k] == CLOSED && outcome[k] != REPLACED)
#else
#define MAY_SETTLE(k) (call[k] == CLOSED && outcome[k] == UNKNOWN)
#endif
#ifdef NO_KEY
#define KEY_IS_FREE(n) 1
#else
#define KEY_IS_FREE(n) (row[1 - (n)] == FREE || key_freed[1 - (n)])
#endif
#ifdef NO_KEY_STAYS
#define FREES_KEY(n) (synchronous[n])
#else
#define FREES_KEY(n) (synchronous[n] && outcome[X(n, 0)] == NOT_SENT && \
    (call[X(n, 1)] == ABSENT || outcome[X(n, 1)] == NOT_SENT))
#endif
#ifdef NO_QUEUED
#define MAY_TAKE(n) ((row[n] == QUEUED || row[n] == OWNED) && !waits[n])
#else
#define MAY_TAKE(n) (row[n] == QUEUED && !waits[n])
#endif
#ifdef NO_FIRST_FENCE
#define MAY_UNDO(n, k) (call[k] == DIALLING)
#else
#define MAY_UNDO(n, k) (call[k] == DIALLING && row[n] == OWNED && IS_OWNER(n) && first[n])
#endif
#ifdef NO_CONFIRMING
#define IS_CONFIRMED(n) 1
#else
#define IS_CONFIRMED(n) (row[n] == OWNED && IS_OWNER(n) && under[T] == CURRENT)
#endif

#ifdef NO_UNKNOWN
#define GIVES_UP_AS NOT_SENT
#else
#define GIVES_UP_AS UNKNOWN
#endif
#ifdef NO_UNKNOWN_HEIR
#define HEIR_CLOSES_AS NOT_SENT
#else
#define HEIR_CLOSES_AS UNKNOWN
#endif
#ifdef NO_CERTAINTY
#define ALSO_AFTER_UNKNOWN 1
#else
#define ALSO_AFTER_UNKNOWN 0
#endif
#ifdef NO_HEIR_LEASE
#define HEIR 0
#else
#define HEIR 1
#endif
#ifdef NO_PLAN_IN_RECORD
#define PLAN_NOW(n) skip
#else
#define PLAN_NOW(n) plan(n)
#endif
#ifdef NO_NEW_FENCE
#define NEXT_FENCE(n) skip
#else
#define NEXT_FENCE(n) new_fence(n)
#endif
#ifdef NO_DIALLING_STAYS
#define LEFT_DIALLING NOTHING
#else
#define LEFT_DIALLING CLOSE_UNKNOWN
#endif
#define SHUTS_CLAIMED(n) (synchronous[n] || phase[T] == DISOWNING)
/* Replicas are alike, and so are notifications: the first is accepted first, and by the first replica. */
#define ACCEPTS(n) (row[n] == FREE && MAY_BE_ASKED(n) && ((n) == 0 -> T == 0 : row[0] != FREE))
#ifdef SAME_KEY
#define MAY_BE_ASKED(n) KEY_IS_FREE(n)
#else
#define MAY_BE_ASKED(n) 1
#endif
#if TASKS_EACH == 1
#define TAKES_ONE_AT_A_TIME 1
#define IS_BUSY (phase[T] != IDLE)
#define CRASH_ALL forget()
#else
/* One loop of a process takes from the queue: it takes nothing more before it knows what became of the last. */
#define TAKES_ONE_AT_A_TIME (phase[(T + REPLICAS) % TASKS] != TAKE_IN_DOUBT)
#define IS_BUSY (phase[T] != IDLE || phase[T + REPLICAS] != IDLE)
#define CRASH_ALL forget(); forget_of(T + REPLICAS)
#endif
#define GIVING_BACK 6
#define STILL(c) (V(c) == NOTHING || V(c) == PENDING)
#define HAS_ENDED(n) (row[n] == FREE || row[n] == DONE)


/* --- pieces of moves ----------------------------------------------------------------------------------------- */

/* Every lease of it is stale from here on. */
inline new_fence(n) {
  first[n] = 0;
  outdate(n, 0); outdate(n, 1)
#if TASKS > 2
  ; outdate(n, 2)
#endif
#if TASKS > 3
  ; outdate(n, 3)
#endif
}

inline outdate(n, t) {
  if :: note[t] == n && under[t] == CURRENT -> under[t] = STALE
     :: note[t] == n && under[t] == NEXT -> under[t] = CURRENT
     :: else fi
}

/* What a process owned that dies. */
inline disown() {
  if :: owner[0] == R -> owner[0] = DEAD :: else fi
#if N > 1
  ; if :: owner[1] == R -> owner[1] = DEAD :: else fi
#endif
}

inline forget() {
  phase[T] = IDLE; note[T] = NOBODY; under[T] = 0; lost[T] = 0; hold[T] = 0; right[T] = 0;
  V(0) = NOTHING; V(1) = NOTHING; RP(0) = 0; RP(1) = 0
}

/* A lease: what is still to be dialled. A call that somebody else dials is not ours to touch. */
inline lease(n) {
  phase[T] = SENDING; note[T] = n; under[T] = CURRENT;
  V(0) = (call[X(n, 0)] == CLAIMED -> PENDING : NOTHING);
  V(1) = (call[X(n, 1)] == CLAIMED -> PENDING : NOTHING);
  lost[T] = (call[X(n, 0)] == DIALLING || call[X(n, 1)] == DIALLING);
  if :: lost[T] -> V(0) = NOTHING; V(1) = NOTHING :: else fi
}

#define RECIPIENT(k) (follows[k] -> (k) - 1 : (k))

inline end_if_done(n) {
  if
  :: ALL_CLOSED(n) && MAY_END(n) ->
       assert(row[n] != DONE);                                      /* it ends once: one callback */
       assert(call[X(n, 0)] == CLOSED && (call[X(n, 1)] == CLOSED || call[X(n, 1)] == ABSENT));
       assert(outcome[X(n, 0)] != REPLACED || call[X(n, 1)] == CLOSED);   /* with every recipient's outcome */
       row[n] = DONE; owner[n] = NOBODY; waits[n] = 0;
       key_freed[n] = FREES_KEY(n)
  :: else
  fi
}

inline close(k, what) {
  assert(call[k] != CLOSED || outcome[k] == UNKNOWN);                /* a definite outcome stays */
  call[k] = CLOSED; outcome[k] = what;
  assert(what != SENT || effect[RECIPIENT(k)] > 0);
  assert(what != NOT_SENT || effect[RECIPIENT(k)] == 0 || settled[(k) / 2])
}

/* A text reaches somebody. */
inline deliver(k) {
  effect[RECIPIENT(k)]++;
  assert(effect[RECIPIENT(k)] == 1);                                /* never twice */
  assert(!told_no[(k) / 2]);
  assert(call[k] != CLOSED || outcome[k] != NOT_SENT || settled[(k) / 2]);
#ifdef SAME_KEY
  assert(effect[(RECIPIENT(k) + 2) % 4] == 0)
#endif
}

/* Record what a call came to. `unsent`: certainly nothing was sent; `undialled`: it was never authorised. */
#define MAY_RECORD(k, unsent, undialled) (FROM_DIALLING(k, undialled) || FROM_CLAIMED(k, unsent))

/* One that was never authorised has no evidence of what somebody else's dial came to. */
#ifdef NO_UNDIALLED
#define late_undialled(c) late(c, NOT_SENT)
#else
#define late_undialled(c) late(c, UNKNOWN)
#endif
/* A record that found the call closed: the first attempt of this very record, an heir, or a cancellation was here. */
inline late(c, what) {
  if
  :: call[K(c)] == CLOSED && MAY_SETTLE(K(c)) && what != UNKNOWN -> close(K(c), what)
  :: else -> if :: !RP(c) -> lost[T] = 1 :: else fi
  fi;
  V(c) = NOTHING; RP(c) = 0
}

/* What follows is planned in the transaction that records why, as a call of its own. */
inline plan(n) {
  assert(row[n] != DONE);
  call[X(n, 1)] = CLAIMED; follows[X(n, 1)] = 1; outcome[X(n, 1)] = NONE
}

#define MAY_FOLLOW(n, c) ((c) == 0 && call[X(n, 1)] == ABSENT)
#define MAY_WAIT(n) (!synchronous[n])

/* --- states that are alike ----------------------------------------------------------------------------------------

   After each move. Nothing can happen any more to what has ended and is held by nobody, so that all of it is forgotten;
   and replicas are alike, so that they are put into one order (-DIN_ORDER: not where a trace is to be read). */

#if TASKS == 2
#define HELD(n) (note[0] == n || note[1] == n)
#elif TASKS == 3
#define HELD(n) (note[0] == n || note[1] == n || note[2] == n)
#else
#define HELD(n) (note[0] == n || note[1] == n || note[2] == n || note[3] == n)
#endif

#if defined(SAME_KEY) || FAILOVERS > 0
#define forget_ended(n) skip
#else
inline forget_ended(n) {
  if
  :: row[n] == DONE && !HELD(n) ->
       first[n] = 0; synchronous[n] = 0; key_freed[n] = 0; told_no[n] = 0; settled[n] = 0;
       call[X(n, 0)] = ABSENT; dialled[X(n, 0)] = 0; follows[X(n, 0)] = 0; outcome[X(n, 0)] = NONE; effect[X(n, 0)] = 0;
       call[X(n, 1)] = ABSENT; dialled[X(n, 1)] = 0; follows[X(n, 1)] = 0; outcome[X(n, 1)] = NONE; effect[X(n, 1)] = 0
  :: else
  fi
}
#endif

#ifdef IN_ORDER
hidden int one, other, kept;
#define OWNS(n, t) (owner[n] == t)
#if N > 1
#define OWNS_ANY(t) (OWNS(0, t) + 2 * OWNS(1, t))
#else
#define OWNS_ANY(t) OWNS(0, t)
#endif
#define FACTS(t) (phase[t] + (note[t] << 3) + (under[t] << 6) + (lost[t] << 8) + (hold[t] << 9) + (right[t] << 10) + \
  (repeated[t * 2] << 11) + (repeated[t * 2 + 1] << 12) + (now[t * 2] << 13) + (now[t * 2 + 1] << 18) + (OWNS_ANY(t) << 23))

#define SWAP(array, s, t) kept = array[s]; array[s] = array[t]; array[t] = kept
#define SWAP_OWNER(n, s, t) if :: owner[n] == s -> owner[n] = t :: owner[n] == t -> owner[n] = s :: else fi
inline put_in_order(s, t) {
  one = FACTS(s); other = FACTS(t);
  if
  :: one > other ->
       SWAP(phase, s, t); SWAP(note, s, t); SWAP(under, s, t); SWAP(lost, s, t); SWAP(hold, s, t); SWAP(right, s, t);
       SWAP(repeated, s * 2, t * 2); SWAP(repeated, s * 2 + 1, t * 2 + 1); SWAP(now, s * 2, t * 2); SWAP(now, s * 2 + 1, t * 2 + 1);
       SWAP_OWNER(0, s, t)
#if N > 1
       ; SWAP_OWNER(1, s, t)
#endif
  :: else
  fi
}
#endif

inline tidy() {
  forget_ended(0)
#if N > 1
  ; forget_ended(1)
#endif
#ifdef IN_ORDER
  ; put_in_order(0, 1)
#if REPLICAS > 2
  ; put_in_order(1, 2); put_in_order(0, 1)
#endif
#endif
}


/* --- the moves of one call of a delivery ------------------------------------------------------------------------ */

#define MOVES_OF_A_CALL(c) \
  /* ask for the right to dial: the only thing that authorises a dial */ \
  :: d_step { phase[T] == SENDING && V(c) == PENDING && !lost[T] && !hold[T] -> printf("replica %d asks for the right to dial call %d of %d\n", R, c, n_); \
       if :: MAY_BE_DIALLED(K(c)) && MINE(n_) -> call[K(c)] = DIALLING; dialled[K(c)] = 1; V(c) = RIGHT \
          :: else -> lost[T] = 1; V(c) = NOTHING fi; tidy() } \
  /* nobody heard whether that was committed: it is not dialled */ \
  :: d_step { phase[T] == SENDING && V(c) == PENDING && !lost[T] && !hold[T] && doubts > 0 && \
              MAY_BE_DIALLED(K(c)) && MINE(n_) -> printf("replica %d asks for the right to dial call %d of %d, gets it, and does not hear of it\n", R, c, n_); \
       doubts--; call[K(c)] = DIALLING; dialled[K(c)] = 1; V(c) = (MAY_WAIT(n_) -> AGAIN : NEVER_DIALLED); tidy() } \
  :: d_step { phase[T] == SENDING && V(c) == PENDING && !lost[T] && !hold[T] && doubts > 0 -> printf("replica %d asks for the right to dial call %d of %d, which is not given, and does not hear of it\n", R, c, n_); \
       doubts--; V(c) = (MAY_WAIT(n_) -> AGAIN : NEVER_DIALLED); tidy() } \
  /* too late (deadline, expiry), or an obstacle: it is closed without a dial */ \
  :: d_step { phase[T] == SENDING && V(c) == PENDING && !lost[T] -> \
       printf("replica %d records call %d of %d: not dialled (too late, or an obstacle)\n", R, c, n_); \
       if :: MAY_RECORD(K(c), 1, 1) -> close(K(c), NOT_SENT); end_if_done(n_); V(c) = NOTHING \
          :: else -> late_undialled(c) fi; tidy() } \
  /* the dial, and what comes of it: a dead process has the same traces at any moment between. Refused, and no byte
     left; the text is sent, and the answer comes in time, late or never; the upstream says no, in time or late, or not
     now (TG11 to TG13, TG17); or bytes left and nothing came of them */ \
  :: d_step { V(c) == RIGHT -> printf("replica %d dials call %d of %d: refused, no byte left\n", R, c, n_); V(c) = GOT_PASSES; tidy() } \
  :: d_step { V(c) == RIGHT -> printf("replica %d dials call %d of %d: sent, and answered\n", R, c, n_); deliver(K(c)); V(c) = GOT_SENT; tidy() } \
  :: d_step { V(c) == RIGHT -> printf("replica %d dials call %d of %d: sent, and the answer comes too late\n", R, c, n_); deliver(K(c)); V(c) = GOT_UNKNOWN_LATE_SENT; tidy() } \
  :: d_step { V(c) == RIGHT -> printf("replica %d dials call %d of %d: sent, and the answer is lost\n", R, c, n_); deliver(K(c)); V(c) = GOT_UNKNOWN; tidy() } \
  :: d_step { V(c) == RIGHT -> printf("replica %d dials call %d of %d: rejected\n", R, c, n_); V(c) = GOT_REJECTED; tidy() } \
  :: d_step { V(c) == RIGHT -> printf("replica %d dials call %d of %d: rejected, and the answer comes too late\n", R, c, n_); V(c) = GOT_UNKNOWN_LATE_REJECTED; tidy() } \
  :: d_step { V(c) == RIGHT -> printf("replica %d dials call %d of %d: bytes left, and nothing came of them\n", R, c, n_); V(c) = GOT_UNKNOWN; tidy() } \
  /* record it */ \
  :: d_step { V(c) == GOT_SENT -> printf("replica %d records call %d of %d: sent\n", R, c, n_); \
       if :: MAY_RECORD(K(c), 0, 0) -> close(K(c), SENT); end_if_done(n_); V(c) = NOTHING :: else -> late(c, SENT) fi; tidy() } \
  :: d_step { V(c) == GOT_UNKNOWN -> printf("replica %d records call %d of %d: unknown\n", R, c, n_); \
       if :: ALSO_AFTER_UNKNOWN && MAY_RECORD(K(c), 0, 0) && MAY_FOLLOW(n_, c) -> \
               close(K(c), REPLACED); PLAN_NOW(n_); V(c) = NOTHING; V(1) = PENDING \
          :: !(ALSO_AFTER_UNKNOWN && MAY_FOLLOW(n_, c)) && MAY_RECORD(K(c), 0, 0) -> \
               close(K(c), GIVES_UP_AS); end_if_done(n_); V(c) = NOTHING \
          :: else -> late(c, UNKNOWN) fi; tidy() } \
  :: d_step { V(c) == GOT_UNKNOWN_LATE_SENT -> printf("replica %d records call %d of %d: unknown, its answer is on the way\n", R, c, n_); \
       if :: MAY_RECORD(K(c), 0, 0) -> close(K(c), GIVES_UP_AS); end_if_done(n_) :: else fi; V(c) = LATE_SENT; tidy() } \
  :: d_step { V(c) == GOT_UNKNOWN_LATE_REJECTED -> printf("replica %d records call %d of %d: unknown, its answer is on the way\n", R, c, n_); \
       if :: MAY_RECORD(K(c), 0, 0) -> close(K(c), GIVES_UP_AS); end_if_done(n_) :: else fi; V(c) = LATE_REJECTED; tidy() } \
  :: d_step { V(c) == LATE_SENT -> printf("replica %d: a late answer of call %d of %d: sent\n", R, c, n_); RP(c) = 1; late(c, SENT); tidy() } \
  :: d_step { V(c) == LATE_REJECTED -> printf("replica %d: a late answer of call %d of %d: rejected\n", R, c, n_); RP(c) = 1; late(c, NOT_SENT); tidy() } \
  /* the upstream says that nothing was sent, and why: another call may follow (a half, the other route) */ \
  :: d_step { V(c) == GOT_REJECTED -> printf("replica %d records call %d of %d: rejected, and plans what follows\n", R, c, n_); \
       if :: MAY_RECORD(K(c), 1, 0) && MAY_FOLLOW(n_, c) -> close(K(c), REPLACED); PLAN_NOW(n_); V(c) = NOTHING; V(1) = PENDING \
          :: MAY_RECORD(K(c), 1, 0) && !MAY_FOLLOW(n_, c) -> close(K(c), NOT_SENT); end_if_done(n_); V(c) = NOTHING \
          :: else -> late(c, NOT_SENT) fi; tidy() } \
  :: d_step { V(c) == GOT_REJECTED && MAY_RECORD(K(c), 1, 0) -> printf("replica %d records call %d of %d: rejected\n", R, c, n_); close(K(c), NOT_SENT); end_if_done(n_); V(c) = NOTHING; tidy() } \
  /* for a reason that passes: the next account at once, or the queue later, or that was all */ \
  :: d_step { V(c) == GOT_PASSES && passes > 0 && MAY_RECORD(K(c), 1, 0) && MAY_FOLLOW(n_, c) -> \
       printf("replica %d records call %d of %d: not sent, and plans it again\n", R, c, n_); \
       passes--; close(K(c), REPLACED); PLAN_NOW(n_); V(c) = NOTHING; V(1) = PENDING; hold[T] = MAY_WAIT(n_); tidy() } \
  :: d_step { V(c) == GOT_PASSES -> printf("replica %d records call %d of %d: not sent\n", R, c, n_); \
       if :: MAY_RECORD(K(c), 1, 0) -> close(K(c), NOT_SENT); end_if_done(n_); V(c) = NOTHING \
          :: else -> late(c, NOT_SENT) fi; tidy() } \
  /* it was not dialled */ \
  :: d_step { V(c) == NEVER_DIALLED -> printf("replica %d records call %d of %d: not dialled\n", R, c, n_); \
       if :: MAY_RECORD(K(c), 1, 1) -> close(K(c), NOT_SENT); end_if_done(n_); V(c) = NOTHING \
          :: else -> late_undialled(c) fi; tidy() } \
  :: d_step { V(c) == AGAIN -> printf("replica %d records call %d of %d: not dialled, and plans it again\n", R, c, n_); \
       if :: MAY_RECORD(K(c), 1, 1) && MAY_FOLLOW(n_, c) -> \
               close(K(c), REPLACED); PLAN_NOW(n_); V(c) = NOTHING; V(1) = PENDING; hold[T] = 1 \
          :: MAY_RECORD(K(c), 1, 1) && !MAY_FOLLOW(n_, c) -> close(K(c), NOT_SENT); end_if_done(n_); V(c) = NOTHING \
          :: else -> late_undialled(c) fi; tidy() } \
  /* a record was committed and nobody heard of it: it is written once more */ \
  :: d_step { V(c) == GOT_SENT && doubts > 0 && MAY_RECORD(K(c), 0, 0) -> printf("replica %d records call %d of %d: sent, and does not hear of it\n", R, c, n_); \
       doubts--; close(K(c), SENT); end_if_done(n_); RP(c) = 1; tidy() } \
  :: d_step { V(c) == GOT_REJECTED && doubts > 0 && MAY_RECORD(K(c), 1, 0) && MAY_FOLLOW(n_, c) -> printf("replica %d records call %d of %d: rejected, plans what follows, and does not hear of it\n", R, c, n_); \
       doubts--; close(K(c), REPLACED); PLAN_NOW(n_); V(1) = PENDING; RP(c) = 1; tidy() } \
  :: d_step { V(c) == NEVER_DIALLED && doubts > 0 && MAY_RECORD(K(c), 1, 1) -> printf("replica %d records call %d of %d: not dialled, and does not hear of it\n", R, c, n_); \
       doubts--; close(K(c), NOT_SENT); end_if_done(n_); RP(c) = 1; tidy() } \
  /* what an heir closes, by what it read */ \
  :: d_step { V(c) == CLOSE_UNKNOWN -> printf("replica %d closes call %d of %d, found dialling: unknown\n", R, c, n_); \
       if :: MAY_RECORD(K(c), 0, HEIR) -> close(K(c), HEIR_CLOSES_AS); end_if_done(n_); V(c) = NOTHING \
          :: else -> V(c) = NOTHING; if :: MINE(n_) -> skip :: else -> forget() fi fi; tidy() } \
  :: d_step { V(c) == CLOSE_UNSENT -> printf("replica %d closes call %d of %d, found claimed: not sent\n", R, c, n_); \
       if :: MAY_RECORD(K(c), 1, 1) -> close(K(c), NOT_SENT); end_if_done(n_); V(c) = NOTHING \
          :: else -> V(c) = NOTHING; if :: MINE(n_) -> skip :: else -> forget() fi fi; tidy() }


/* --- the moves of a replica that concern one notification ------------------------------------------------------ */

#define MOVES_OF_A_NOTIFICATION(n) \
  /* accept, for a caller who waits: one call with the right to dial, or one or two without */ \
  :: d_step { phase[T] == IDLE && ACCEPTS(n) -> printf("replica %d accepts %d for a caller who waits, with the right to dial\n", R, n); \
       row[n] = OWNED; owner[n] = R; first[n] = 1; synchronous[n] = 1; \
       call[X(n, 0)] = DIALLING; dialled[X(n, 0)] = 1; lease(n); lost[T] = 0; V(0) = RIGHT; tidy() } \
  :: d_step { phase[T] == IDLE && ACCEPTS(n) -> printf("replica %d accepts %d for a caller who waits\n", R, n); \
       row[n] = OWNED; owner[n] = R; first[n] = 1; synchronous[n] = 1; call[X(n, 0)] = CLAIMED; lease(n); tidy() } \
  :: d_step { phase[T] == IDLE && ACCEPTS(n) -> printf("replica %d accepts %d for a caller who waits, two calls\n", R, n); \
       row[n] = OWNED; owner[n] = R; first[n] = 1; synchronous[n] = 1; \
       call[X(n, 0)] = CLAIMED; call[X(n, 1)] = CLAIMED; lease(n); tidy() } \
  /* the same, and nobody heard of the commit */ \
  :: d_step { phase[T] == IDLE && ACCEPTS(n) && doubts > 0 -> printf("replica %d accepts %d with the right to dial, and does not hear of the commit\n", R, n); \
       doubts--; row[n] = OWNED; owner[n] = R; first[n] = 1; synchronous[n] = 1; \
       call[X(n, 0)] = DIALLING; dialled[X(n, 0)] = 1; phase[T] = CLAIM_IN_DOUBT; note[T] = n; right[T] = 1; tidy() } \
  :: d_step { phase[T] == IDLE && ACCEPTS(n) && doubts > 0 -> printf("replica %d accepts %d, and does not hear of the commit\n", R, n); \
       doubts--; row[n] = OWNED; owner[n] = R; first[n] = 1; synchronous[n] = 1; \
       call[X(n, 0)] = CLAIMED; phase[T] = CLAIM_IN_DOUBT; note[T] = n; tidy() } \
  :: d_step { phase[T] == IDLE && ACCEPTS(n) && doubts > 0 -> printf("replica %d accepts %d for the queue, and does not hear of the commit\n", R, n); \
       doubts--; row[n] = QUEUED; first[n] = 1; call[X(n, 0)] = CLAIMED; phase[T] = CLAIM_IN_DOUBT; note[T] = n; tidy() } \
  /* accept for the queue: due now, or later */ \
  :: d_step { ACCEPTS(n) -> printf("replica %d accepts %d for the queue\n", R, n); row[n] = QUEUED; first[n] = 1; call[X(n, 0)] = CLAIMED; tidy() } \
  :: d_step { ACCEPTS(n) -> printf("replica %d accepts %d for the queue, two calls\n", R, n); row[n] = QUEUED; first[n] = 1; call[X(n, 0)] = CLAIMED; call[X(n, 1)] = CLAIMED; tidy() } \
  :: d_step { ACCEPTS(n) && holds > 0 -> printf("replica %d accepts %d for later\n", R, n); holds--; row[n] = QUEUED; first[n] = 1; waits[n] = 1; call[X(n, 0)] = CLAIMED; tidy() } \
  /* its time comes; it is moved to a later one */ \
  :: d_step { T == 0 && row[n] == QUEUED && waits[n] -> printf("replica %d: %d is due\n", R, n); waits[n] = 0; tidy() } \
  :: d_step { T == 0 && row[n] == QUEUED && !waits[n] && holds > 0 && NEVER_OUT(n) -> printf("replica %d: %d is moved to a later time\n", R, n); holds--; waits[n] = 1; tidy() } \
  :: d_step { T == 0 && row[n] == OWNED && !synchronous[n] && holds > 0 && NEVER_OUT(n) -> printf("replica %d: %d is moved to a later time, and its owner loses it\n", R, n); \
       holds--; row[n] = QUEUED; owner[n] = NOBODY; new_fence(n); waits[n] = 1; tidy() } \
  /* take it from the queue */ \
  :: d_step { phase[T] == IDLE && TAKES_ONE_AT_A_TIME && MAY_TAKE(n) -> printf("replica %d takes %d from the queue\n", R, n); row[n] = OWNED; owner[n] = R; new_fence(n); lease(n); tidy() } \
  :: d_step { phase[T] == IDLE && TAKES_ONE_AT_A_TIME && MAY_TAKE(n) && doubts > 0 -> printf("replica %d takes %d from the queue, and does not hear of the commit\n", R, n); \
       doubts--; row[n] = OWNED; owner[n] = R; new_fence(n); phase[T] = TAKE_IN_DOUBT; note[T] = n; under[T] = CURRENT; tidy() } \
  :: d_step { phase[T] == IDLE && TAKES_ONE_AT_A_TIME && MAY_TAKE(n) && doubts > 0 -> printf("replica %d takes %d from the queue, which fails, and does not hear of it\n", R, n); \
       doubts--; phase[T] = TAKE_IN_DOUBT; note[T] = n; under[T] = NEXT; tidy() } \
  /* cancel what was never dialled */ \
  :: d_step { T == 0 && (row[n] == QUEUED || row[n] == OWNED) && !synchronous[n] && MAY_CANCEL(n) -> printf("replica %d cancels %d\n", R, n); \
       if :: call[X(n, 0)] != CLOSED -> close(X(n, 0), NOT_SENT) :: else fi; \
       if :: call[X(n, 1)] != CLOSED && call[X(n, 1)] != ABSENT -> close(X(n, 1), NOT_SENT) :: else fi; \
       end_if_done(n); tidy() } \
  /* take over from one that is dead, or seems so */ \
  :: d_step { phase[T] == IDLE && row[n] == OWNED && owner[n] == DEAD -> printf("replica %d takes %d over from one that died\n", R, n); take_over(n); tidy() } \
  :: d_step { phase[T] == IDLE && row[n] == OWNED && owner[n] != R && owner[n] != DEAD && suspicions > 0 -> printf("replica %d takes %d over from one that lives and seems dead\n", R, n); \
       suspicions--; take_over(n); tidy() }

inline take_over(n) {
  owner[n] = R; NEXT_FENCE(n);
  phase[T] = RECOVERING; note[T] = n; under[T] = CURRENT;
  look(n)
}

/* What an heir finds: dialled is unknown; only claimed is not sent if a caller waited, and goes back otherwise. */
inline look(n) {
  V(0) = (call[X(n, 0)] == DIALLING -> LEFT_DIALLING : (call[X(n, 0)] == CLAIMED && SHUTS_CLAIMED(n) -> CLOSE_UNSENT : NOTHING));
  V(1) = (call[X(n, 1)] == DIALLING -> LEFT_DIALLING : (call[X(n, 1)] == CLAIMED && SHUTS_CLAIMED(n) -> CLOSE_UNSENT : NOTHING))
}


/* A claim in doubt: the unused right is taken back if the row is as it was written; then it is ours under a new fence,
   unless somebody dialled it. */
inline take_back(next) {
  if
  :: right[T] && MAY_UNDO(n_, K(0)) -> call[K(0)] = CLAIMED; dialled[K(0)] = 0
  :: else
  fi;
  if
  :: (row[n_] == QUEUED || (row[n_] == OWNED && owner[n_] == R)) && NEVER_OUT(n_) ->
       row[n_] = OWNED; owner[n_] = R; new_fence(n_); lease(n_); right[T] = 0;
       phase[T] = next
  :: else -> forget()
  fi
}

inline forget_of(t) {
  phase[t] = IDLE; note[t] = NOBODY; under[t] = 0; lost[t] = 0; hold[t] = 0; right[t] = 0;
  now[t * 2] = NOTHING; now[t * 2 + 1] = NOTHING; repeated[t * 2] = 0; repeated[t * 2 + 1] = 0
}

inline lease_as_it_was() { 
  phase[T] = SENDING;
  V(0) = (call[K(0)] == CLAIMED -> PENDING : NOTHING);
  V(1) = (call[K(1)] == CLAIMED -> PENDING : NOTHING);
  lost[T] = (call[K(0)] == DIALLING || call[K(1)] == DIALLING);
  if :: lost[T] -> V(0) = NOTHING; V(1) = NOTHING :: else fi
}

#if FAILOVERS > 0
inline copy() {
  has_copy = 1; copied_row = row[0]; copied_owner = owner[0]; copied_first = first[0]; copied_waits = waits[0];
  copied_call[0] = call[0]; copied_call[1] = call[1]; copied_outcome[0] = outcome[0]; copied_outcome[1] = outcome[1];
  copied_dialled[0] = dialled[0]; copied_dialled[1] = dialled[1];
  copied_follows[0] = follows[0]; copied_follows[1] = follows[1]
}

/* Every replica is stopped, the standby takes over, and `recover --restored` runs before one starts again. */
inline fail_over() {
  row[0] = copied_row; owner[0] = (copied_owner == NOBODY -> NOBODY : DEAD); first[0] = copied_first; waits[0] = copied_waits;
  call[0] = copied_call[0]; call[1] = copied_call[1]; outcome[0] = copied_outcome[0]; outcome[1] = copied_outcome[1];
  dialled[0] = copied_dialled[0]; dialled[1] = copied_dialled[1];
  follows[0] = copied_follows[0]; follows[1] = copied_follows[1];
  forget_of(0); forget_of(1);
#ifndef NO_RESTORED
  if
  :: row[0] == QUEUED || row[0] == OWNED ->
       if :: call[0] == CLAIMED || call[0] == DIALLING -> call[0] = CLOSED; outcome[0] = UNKNOWN :: else fi;
       if :: call[1] == CLAIMED || call[1] == DIALLING -> call[1] = CLOSED; outcome[1] = UNKNOWN :: else fi;
       end_if_done(0)
  :: else
  fi;
#endif
  has_copy = 0
}
#endif

active [TASKS] proctype delivery()
{
end:
  do
  MOVES_OF_A_CALL(0)
  MOVES_OF_A_CALL(1)
  MOVES_OF_A_NOTIFICATION(0)
#if N > 1
  MOVES_OF_A_NOTIFICATION(1)
#endif
  /* nothing may be sent now: what is not dialled goes back */
  :: d_step { phase[T] == SENDING && !hold[T] && !lost[T] && holds > 0 && MAY_WAIT(n_) && (V(0) == PENDING || V(1) == PENDING) -> printf("replica %d must hold what is not dialled\n", R);
       holds--; hold[T] = 1; tidy() }
  :: d_step { phase[T] == SENDING && hold[T] && !lost[T] && STILL(0) && STILL(1) && (V(0) == PENDING || V(1) == PENDING) -> printf("replica %d puts what is not dialled back into the queue\n", R);
       if :: MAY_PUT_BACK(n_) -> row[n_] = QUEUED; owner[n_] = NOBODY; waits[n_] = 1 :: else fi;
       if :: V(0) == PENDING -> V(0) = NOTHING :: else fi;
       if :: V(1) == PENDING -> V(1) = NOTHING :: else fi;
       lost[T] = 1; tidy() }
  /* somebody else has it now */
  :: d_step { phase[T] == SENDING && lost[T] && (V(0) == PENDING || V(1) == PENDING) -> printf("replica %d has lost it, and drops what is not dialled\n", R);
       if :: V(0) == PENDING -> V(0) = NOTHING :: else fi;
       if :: V(1) == PENDING -> V(1) = NOTHING :: else fi; tidy() }
  /* all is recorded */
  :: d_step { phase[T] == SENDING && V(0) == NOTHING && V(1) == NOTHING -> printf("replica %d is done with it\n", R);
       if :: !lost[T] -> end_if_done(n_) :: else fi; forget(); tidy() }
  /* a claim in doubt is looked for; or given up: the caller is told no, and it is ended unsent */
  :: d_step { phase[T] == CLAIM_IN_DOUBT && !told_no[n_] -> printf("replica %d looks for its claim in doubt\n", R); take_back((synchronous[n_] -> SENDING : GIVING_BACK)); tidy() }
  :: d_step { phase[T] == CLAIM_IN_DOUBT && !told_no[n_] && synchronous[n_] -> printf("replica %d tells the caller no: nothing was sent\n", R);
       assert(effect[K(0)] == 0 && effect[K(1)] == 0); told_no[n_] = 1; tidy() }
  :: d_step { phase[T] == CLAIM_IN_DOUBT && told_no[n_] -> printf("replica %d ends what it told the caller no about\n", R);
       take_back(DISOWNING); if :: phase[T] == DISOWNING -> look(n_) :: else fi; tidy() }
  :: d_step { phase[T] == GIVING_BACK -> printf("replica %d puts its claim into the queue\n", R);
       if :: MAY_PUT_BACK(n_) -> row[n_] = QUEUED; owner[n_] = NOBODY :: else fi; forget(); tidy() }
  :: d_step { phase[T] == TAKE_IN_DOUBT -> printf("replica %d confirms what it took\n", R);
       if :: IS_CONFIRMED(n_) -> lease_as_it_was() :: else -> forget() fi; tidy() }
  /* an heir has closed what it found: it looks again, and ends it or puts it back */
  :: d_step { (phase[T] == RECOVERING || phase[T] == DISOWNING) && V(0) == NOTHING && V(1) == NOTHING -> printf("replica %d looks again at what it took over\n", R);
       if :: row[n_] == DONE -> forget()
          :: row[n_] != DONE ->
               look(n_);
               if :: V(0) != NOTHING || V(1) != NOTHING -> skip
                  :: V(0) == NOTHING && V(1) == NOTHING ->
                       if :: call[K(0)] == CLAIMED || call[K(1)] == CLAIMED ->
                               if :: MAY_PUT_BACK(n_) -> row[n_] = QUEUED; owner[n_] = NOBODY :: else fi
                          :: else -> end_if_done(n_) fi;
                       forget() fi fi; tidy() }
  /* an operator says what became of an unknown one, right or wrong */
  :: d_step { T == 0 && !settled[0] && row[0] == DONE && outcome[0] == UNKNOWN -> printf("replica %d an operator settles call 0 of 0\n", R); settled[0] = 1; outcome[0] = NOT_SENT; tidy() }
#if FAILOVERS > 0
  :: d_step { T == 0 && !has_copy && failovers > 0 && row[0] != FREE ->
       printf("replica %d: the standby hears of all that was committed, and of nothing after\n", R); copy(); tidy() }
  :: d_step { T == 0 && has_copy -> printf("replica %d: the standby takes over\n", R); failovers--; fail_over(); tidy() }
#endif
  /* SIGKILL: what it knew is gone, and another one starts in its place */
  :: d_step { crashes > 0 && T < REPLICAS && IS_BUSY -> printf("replica %d dies, and starts anew\n", R); crashes--; CRASH_ALL; disown(); tidy() }
  od
}


/* When nothing can happen any more, everything that was accepted has ended. */
active proctype end_of_time()
{
  timeout -> assert(HAS_ENDED(0) && HAS_ENDED(N - 1))
}
