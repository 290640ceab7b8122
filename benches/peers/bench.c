/*
 * The benchmark that runs on every peer: plain MPI, no option of any library.
 *
 *   bench hello                                 start, barrier, finish (timed from outside)
 *   bench memory                                PSS per rank after start and barrier
 *   bench [--budget-ms N] CASE:BYTES ...        one JSON row per item on standard output
 *
 * The same rules as `phalanx bench`. A repetition: the ranks synchronise, then each times K operations back to back;
 * the value is the maximum over the ranks divided by K. K is chosen in the warm-up so that a repetition takes 0.2 ms
 * (1 ms if ranks outnumber cores), the number of repetitions so that the item takes about its budget. One operation of
 * every item is checked before it is timed. The thread level is MPI_THREAD_SINGLE.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 64, HALO_BYTES = 1024, TAG = 1, LEAST_WARM_UP = 15, MOST_BATCH = 10000, MOST_REPETITIONS = 1000 };
static const double BATCH_S = 0.2e-3, BATCH_OVERSUBSCRIBED_S = 1e-3;

/* What one item works on. `input` is never written by an operation. */
struct state {
    int rank, ranks;
    int bytes;
    long work;
    double value, sum;
    char *input, *output;
};

struct scenario {
    const char *name;
    void (*operate)(struct state *, long index);
    /* 0 if the operation with this index left the right result. */
    int (*check)(const struct state *, long index);
    /* Blocks of `bytes` in the input and the output. */
    int (*input_blocks)(int ranks), (*output_blocks)(int ranks);
    /* Messages in one operation: the time is divided by it. */
    double (*messages)(int ranks);
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void fail(const char *what, const char *item) {
    fprintf(stderr, "bench: %s: %s\n", item, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* ---- patterns ------------------------------------------------------------------------------------------------- */

static char pattern(int seed, long at) { return (char)(seed * 37 + at * 7 + (at >> 8)); }

static int is_pattern(const char *block, long bytes, int seed, long from) {
    for (long at = 0; at < bytes; at++)
        if (block[at] != pattern(seed, from + at)) return 0;
    return 1;
}

/* Small whole numbers, so that every order of summation gives the same bits. */
static double term(int rank, long at) { return rank + 1 + (double)(at % 1000); }

static int is_sum(const struct state *state) {
    const double *sums = (const double *)state->output;
    double ranks = state->ranks;
    for (long at = 0; at < (long)(state->bytes / sizeof(double)); at++)
        if (sums[at] != ranks * (ranks + 1) / 2 + ranks * (double)(at % 1000)) return 0;
    return 1;
}

static void fill_terms(struct state *state) {
    double *terms = (double *)state->input;
    for (long at = 0; at < (long)(state->bytes / sizeof(double)); at++) terms[at] = term(state->rank, at);
}

/* ---- one operation of each case ------------------------------------------------------------------------------- */

static void ping_pong(struct state *s, long index) {
    (void)index;
    if (s->rank == 0) {
        MPI_Send(s->input, s->bytes, MPI_CHAR, 1, TAG, MPI_COMM_WORLD);
        MPI_Recv(s->output, s->bytes, MPI_CHAR, 1, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else if (s->rank == 1) {
        MPI_Recv(s->output, s->bytes, MPI_CHAR, 0, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(s->input, s->bytes, MPI_CHAR, 0, TAG, MPI_COMM_WORLD);
    }
}

static int check_ping_pong(const struct state *s, long index) {
    (void)index;
    return s->rank < 2 && !is_pattern(s->output, s->bytes, 1 - s->rank, 0);
}

/* One buffer: what was received is sent back, so that the bytes are always new to the receiver's processor. */
static void echo(struct state *s, long index) {
    (void)index;
    if (s->rank == 0) MPI_Send(s->output, s->bytes, MPI_CHAR, 1, TAG, MPI_COMM_WORLD);
    if (s->rank < 2) MPI_Recv(s->output, s->bytes, MPI_CHAR, 1 - s->rank, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (s->rank == 1) MPI_Send(s->output, s->bytes, MPI_CHAR, 0, TAG, MPI_COMM_WORLD);
}

static int check_echo(const struct state *s, long index) {
    (void)index;
    return s->rank < 2 && !is_pattern(s->output, s->bytes, 0, 0);
}

/* A window of messages from each rank of the lower half to its partner in the upper half, and one short answer. */
static void window(struct state *s, int pairs) {
    MPI_Request requests[WINDOW];
    double answer = 0;
    if (s->rank < pairs) {
        for (int i = 0; i < WINDOW; i++)
            MPI_Isend(s->input, s->bytes, MPI_CHAR, s->rank + pairs, TAG, MPI_COMM_WORLD, &requests[i]);
        MPI_Waitall(WINDOW, requests, MPI_STATUSES_IGNORE);
        MPI_Recv(&answer, 1, MPI_DOUBLE, s->rank + pairs, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else if (s->rank < 2 * pairs) {
        for (int i = 0; i < WINDOW; i++)
            MPI_Irecv(s->output + (size_t)i * s->bytes, s->bytes, MPI_CHAR, s->rank - pairs, TAG, MPI_COMM_WORLD, &requests[i]);
        MPI_Waitall(WINDOW, requests, MPI_STATUSES_IGNORE);
        MPI_Send(&answer, 1, MPI_DOUBLE, s->rank - pairs, TAG, MPI_COMM_WORLD);
    }
}

static int check_window(const struct state *s, int pairs) {
    for (int i = 0; i < WINDOW && s->rank >= pairs && s->rank < 2 * pairs; i++)
        if (!is_pattern(s->output + (size_t)i * s->bytes, s->bytes, s->rank - pairs, 0)) return 1;
    return 0;
}

static void bandwidth(struct state *s, long index) { (void)index, window(s, 1); }
static int check_bandwidth(const struct state *s, long index) { return (void)index, check_window(s, 1); }
static void message_rate(struct state *s, long index) { (void)index, window(s, s->ranks / 2); }
static int check_message_rate(const struct state *s, long index) { return (void)index, check_window(s, s->ranks / 2); }

static void barrier(struct state *s, long index) { (void)s, (void)index, MPI_Barrier(MPI_COMM_WORLD); }
static int check_nothing(const struct state *s, long index) { return (void)s, (void)index, 0; }

static void allreduce(struct state *s, long index) {
    (void)index;
    MPI_Allreduce(s->input, s->output, s->bytes / (int)sizeof(double), MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}
static int check_allreduce(const struct state *s, long index) { return (void)index, !is_sum(s); }

/* The root moves on with every operation, so that no rank runs ahead of the others by more than a round. */
static void reduce(struct state *s, long index) {
    int root = (int)(index % s->ranks);
    MPI_Reduce(s->input, s->output, s->bytes / (int)sizeof(double), MPI_DOUBLE, MPI_SUM, root, MPI_COMM_WORLD);
}
static int check_reduce(const struct state *s, long index) { return s->rank == index % s->ranks && !is_sum(s); }

static void bcast(struct state *s, long index) {
    int root = (int)(index % s->ranks);
    MPI_Bcast(s->output, s->bytes, MPI_CHAR, root, MPI_COMM_WORLD);
}
static int check_bcast(const struct state *s, long index) {
    return !is_pattern(s->output, s->bytes, (int)(index % s->ranks), 0);
}

static void allgather(struct state *s, long index) {
    (void)index;
    MPI_Allgather(s->input, s->bytes, MPI_CHAR, s->output, s->bytes, MPI_CHAR, MPI_COMM_WORLD);
}
static int check_allgather(const struct state *s, long index) {
    (void)index;
    for (int from = 0; from < s->ranks; from++)
        if (!is_pattern(s->output + (size_t)from * s->bytes, s->bytes, from, 0)) return 1;
    return 0;
}

static void alltoall(struct state *s, long index) {
    (void)index;
    MPI_Alltoall(s->input, s->bytes, MPI_CHAR, s->output, s->bytes, MPI_CHAR, MPI_COMM_WORLD);
}
static int check_alltoall(const struct state *s, long index) {
    (void)index;
    for (int from = 0; from < s->ranks; from++)
        if (!is_pattern(s->output + (size_t)from * s->bytes, s->bytes, from, (long)s->rank * s->bytes)) return 1;
    return 0;
}

/* Compute, exchange borders with both neighbours of a ring, agree on a number. */
static void iterate(struct state *s, long index) {
    (void)index;
    int right = (s->rank + 1) % s->ranks, left = (s->rank + s->ranks - 1) % s->ranks;
    double x = s->value;
    for (long i = 0; i < s->work; i++) x = x * 0.999999 + 1e-6;
    s->value = x;
    MPI_Sendrecv(s->input, HALO_BYTES, MPI_CHAR, right, 1, s->output, HALO_BYTES, MPI_CHAR, left, 1, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
    MPI_Sendrecv(s->input, HALO_BYTES, MPI_CHAR, left, 2, s->output + HALO_BYTES, HALO_BYTES, MPI_CHAR, right, 2,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Allreduce(&s->value, &s->sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}
static int check_iterate(const struct state *s, long index) {
    (void)index;
    int right = (s->rank + 1) % s->ranks, left = (s->rank + s->ranks - 1) % s->ranks;
    double wrong = s->sum / (s->value * s->ranks) - 1;
    return !is_pattern(s->output, HALO_BYTES, left, 0) || !is_pattern(s->output + HALO_BYTES, HALO_BYTES, right, 0)
        || !(wrong < 1e-12 && wrong > -1e-12);
}

static int none(int ranks) { return (void)ranks, 0; }
static int one(int ranks) { return (void)ranks, 1; }
static int two(int ranks) { return (void)ranks, 2; }
static int per_rank(int ranks) { return ranks; }
static int per_slot(int ranks) { return (void)ranks, WINDOW; }
static double single(int ranks) { return (void)ranks, 1; }
static double both_ways(int ranks) { return (void)ranks, 2; }
static double one_window(int ranks) { return (void)ranks, WINDOW; }
static double all_windows(int ranks) { return WINDOW * (double)(ranks / 2); }

static const struct scenario SCENARIOS[] = {
    {"pingpong", ping_pong, check_ping_pong, one, one, both_ways},
    {"echo", echo, check_echo, none, one, both_ways},
    {"bandwidth", bandwidth, check_bandwidth, one, per_slot, one_window},
    {"message-rate", message_rate, check_message_rate, one, per_slot, all_windows},
    {"barrier", barrier, check_nothing, none, none, single},
    {"allreduce", allreduce, check_allreduce, one, one, single},
    {"reduce", reduce, check_reduce, one, one, single},
    {"bcast", bcast, check_bcast, none, one, single},
    {"allgather", allgather, check_allgather, one, per_rank, single},
    {"alltoall", alltoall, check_alltoall, per_rank, per_rank, single},
    {"iterate", iterate, check_iterate, one, two, single},
};

/* ---- measuring ------------------------------------------------------------------------------------------------ */

static double most(double mine) {
    double all;
    MPI_Allreduce(&mine, &all, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return all;
}

/* Dissemination by empty messages, so that what separates repetitions is built alike on every library. */
static void synchronise(const struct state *state) {
    for (int step = 1; step < state->ranks; step *= 2) {
        int to = (state->rank + step) % state->ranks, from = (state->rank + state->ranks - step) % state->ranks;
        MPI_Sendrecv(NULL, 0, MPI_CHAR, to, 3, NULL, 0, MPI_CHAR, from, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
}

/* One repetition: seconds of this rank for `batch` operations. */
static double repetition(const struct scenario *scenario, struct state *state, long batch) {
    synchronise(state);
    double start = now();
    for (long index = 0; index < batch; index++) scenario->operate(state, index);
    return now() - start;
}

/* Repeats until the library has settled; sets the batch, and the seconds a repetition of it takes with its synchronisation. */
static void warm_up(const struct scenario *scenario, struct state *state, double budget, long *batch, double *cost) {
    double start = now(), least, spent;
    double aim = state->ranks > sysconf(_SC_NPROCESSORS_ONLN) ? BATCH_OVERSUBSCRIBED_S : BATCH_S;
    long group = 1, done = 0;
    for (;; group *= 2) {
        least = most(repetition(scenario, state, group));
        done += group;
        spent = most(now() - start);
        if ((least >= aim && done >= LEAST_WARM_UP) || spent >= budget) break;
    }
    /* The least of some more, as a rank that lost its core in the last group would make the batch far too short. */
    for (int more = 0; more < 4 && spent < budget; more++) {
        double took = most(repetition(scenario, state, group));
        if (took < least) least = took;
        spent = most(now() - start);
    }
    double each = least / (double)group;
    *batch = each * MOST_BATCH <= aim ? MOST_BATCH : (long)(aim / each);
    if (*batch < 1) *batch = 1;
    start = now();
    repetition(scenario, state, *batch);
    *cost = most(now() - start);
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void measure(const struct scenario *scenario, struct state *state, double budget) {
    static double times[MOST_REPETITIONS], maxima[MOST_REPETITIONS];
    long batch;
    double cost;
    warm_up(scenario, state, budget, &batch, &cost);
    int least = cost > budget / 5 ? 3 : 5;
    int repetitions = budget / cost > MOST_REPETITIONS ? MOST_REPETITIONS : (int)(budget / cost);
    if (repetitions < least) repetitions = least;
    /* In ten parts, as a machine that others disturb may take far longer than the warm-up foretold. */
    double start = now();
    int done = 0, part = (repetitions + 9) / 10;
    do {
        for (int i = 0; i < part && done < repetitions; i++) times[done++] = repetition(scenario, state, batch);
    } while (done < repetitions && (done < least || most(now() - start) < 1.5 * budget));
    repetitions = done;
    MPI_Reduce(times, maxima, repetitions, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (state->rank != 0) return;
    qsort(maxima, (size_t)repetitions, sizeof *maxima, ascending);
    double unit = 1e6 / ((double)batch * scenario->messages(state->ranks));
    printf("{\"case\":\"%s\",\"ranks\":%d,\"bytes\":%d,\"work\":%ld,\"unit\":\"us\",\"min\":%.4f,\"median\":%.4f,"
           "\"p99\":%.4f,\"repetitions\":%d,\"batch\":%ld}\n",
           scenario->name, state->ranks, state->work ? 0 : state->bytes, state->work, maxima[0] * unit, maxima[repetitions / 2] * unit,
           maxima[(repetitions * 99 + 99) / 100 - 1] * unit, repetitions, batch);
    fflush(stdout);
}

static char *blocks(int count, int bytes, const char *item) {
    char *memory = aligned_alloc(4096, ((size_t)count * bytes / 4096 + 1) * 4096);
    if (!memory) fail("out of memory", item);
    memset(memory, 0xa5, (size_t)count * bytes);
    return memory;
}

/* Prepares the buffers, checks one operation, and measures. `item` is CASE:BYTES, for `iterate` CASE:MULTIPLY-ADDS. */
static void run(const char *item, struct state state, double budget) {
    const char *colon = strchr(item, ':');
    size_t length = colon ? (size_t)(colon - item) : strlen(item);
    long number = colon ? atol(colon + 1) : 0;
    const struct scenario *scenario = NULL;
    for (size_t i = 0; i < sizeof SCENARIOS / sizeof *SCENARIOS; i++)
        if (strlen(SCENARIOS[i].name) == length && !strncmp(SCENARIOS[i].name, item, length)) scenario = &SCENARIOS[i];
    if (!scenario || number < 0 || number > 1 << 30) fail("no such item", item);

    int iterates = scenario->operate == iterate, sums = scenario->operate == allreduce || scenario->operate == reduce;
    state.bytes = iterates ? HALO_BYTES : (int)number;
    state.work = iterates ? number : 0;
    state.value = 0.5;
    state.input = blocks(scenario->input_blocks(state.ranks), state.bytes, item);
    state.output = blocks(scenario->output_blocks(state.ranks), state.bytes, item);
    for (long at = 0; at < (long)scenario->input_blocks(state.ranks) * state.bytes; at++)
        state.input[at] = pattern(state.rank, at);
    if (sums) fill_terms(&state);
    if (scenario->operate == bcast || scenario->operate == echo)
        for (long at = 0; at < state.bytes; at++) state.output[at] = pattern(state.rank, at);

    long index = state.ranks - 1;
    scenario->operate(&state, index);
    if (scenario->check(&state, index)) fail("wrong result", item);
    measure(scenario, &state, budget);
    free(state.input);
    free(state.output);
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

static double own_pss_kib(void) {
    char line[256];
    double kib = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Pss: %lf kB", &kib) == 1) break;
    if (file) fclose(file);
    return kib;
}

static void memory(const struct state *state) {
    double mine = own_pss_kib(), least, all, largest;
    MPI_Reduce(&mine, &least, 1, MPI_DOUBLE, MPI_MIN, 0, MPI_COMM_WORLD);
    MPI_Reduce(&mine, &all, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Reduce(&mine, &largest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (state->rank == 0 && least < 0) fail("cannot read /proc/self/smaps_rollup", "memory");
    if (state->rank == 0)
        printf("{\"case\":\"memory\",\"ranks\":%d,\"bytes\":0,\"work\":0,\"unit\":\"MiB\",\"min\":%.3f,\"median\":%.3f,"
               "\"p99\":%.3f,\"repetitions\":1,\"batch\":1}\n",
               state->ranks, least / 1024, all / 1024 / state->ranks, largest / 1024);
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv) {
    struct state state = {0};
    double budget = 0.2;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &state.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &state.ranks);
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "hello")) continue;
        if (!strcmp(argv[i], "memory")) memory(&state);
        else if (!strcmp(argv[i], "--budget-ms") && i + 1 < argc) budget = atof(argv[++i]) / 1e3;
        else run(argv[i], state, budget);
    }
    MPI_Finalize();
    return 0;
}
