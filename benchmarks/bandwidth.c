/* The same passes over memory as edgewright.board.bandwidth makes, without Python: what its figures are held against.

   cc -O3 -march=native -pthread bandwidth.c -o bandwidth; bandwidth WORDS THREADS POSITIONS
   Then a line "KIND THREADS PASSES" on standard input (kinds: read, write, copy, random) is answered by the seconds it took, by the
   clock and (of one thread) of processor time. */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MOST_THREADS 256

static uint64_t *source, *target, *gathered[MOST_THREADS], words, positions_count;
static int64_t *positions[MOST_THREADS];
static volatile uint64_t sink;
static pthread_barrier_t gate;

struct part {
    char kind;
    int at, threads, passes;
    double began, ended, processor;
};

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Huge pages where the kernel gives them to those who ask, as numpy does. */
static void *claim(size_t bytes) {
    void *place = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED) exit(3);
    madvise(place, bytes, MADV_HUGEPAGE);
    memset(place, 1, bytes);
    return place;
}

static uint64_t xorshift(uint64_t *state) {
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

static void one_pass(const struct part *part) {
    uint64_t share = words / part->threads;
    const uint64_t *from = source + part->at * share;
    uint64_t *to = target + part->at * share;
    uint64_t seen = 0;
    switch (part->kind) {
    case 'r':
        for (uint64_t i = 0; i < share; i++) seen |= from[i];
        sink = seen;
        break;
    case 'w':
        for (uint64_t i = 0; i < share; i++) to[i] = 3;
        break;
    case 'c':
        memcpy(to, from, share * sizeof *to);
        break;
    default:
        for (uint64_t i = 0; i < positions_count; i++) gathered[part->at][i] = source[positions[part->at][i]];
    }
    __asm__ volatile("" ::: "memory"); /* each pass is made, though nobody looks */
}

static void *take_part(void *given) {
    struct part *part = given;
    if (part->threads > 1) pthread_barrier_wait(&gate);
    part->processor = -now(CLOCK_THREAD_CPUTIME_ID);
    part->began = now(CLOCK_MONOTONIC);
    for (int pass = 0; pass < part->passes; pass++) one_pass(part);
    part->ended = now(CLOCK_MONOTONIC);
    part->processor += now(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static double seconds(char kind, int threads, int passes, double *processor) {
    struct part parts[MOST_THREADS];
    pthread_t ids[MOST_THREADS];
    for (int at = 0; at < threads; at++) parts[at] = (struct part){kind, at, threads, passes, 0, 0, 0};
    if (threads == 1) {
        take_part(parts);
        *processor = parts[0].processor;
        return parts[0].ended - parts[0].began;
    }
    pthread_barrier_init(&gate, NULL, threads);
    for (int at = 0; at < threads; at++) pthread_create(&ids[at], NULL, take_part, &parts[at]);
    double began = 1e300, ended = 0;
    for (int at = 0; at < threads; at++) {
        pthread_join(ids[at], NULL);
        if (parts[at].began < began) began = parts[at].began;
        if (parts[at].ended > ended) ended = parts[at].ended;
    }
    pthread_barrier_destroy(&gate);
    return ended - began;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int most = atoi(argv[2]);
    words = strtoull(argv[1], NULL, 10);
    positions_count = strtoull(argv[3], NULL, 10);
    if (most < 1 || most > MOST_THREADS || words < 1) return 2;
    source = claim(words * sizeof *source);
    target = claim(words * sizeof *target);
    uint64_t state = 88172645463325252ull;
    for (int at = 0; at < most; at++) {
        positions[at] = claim(positions_count * sizeof *positions[at]);
        gathered[at] = claim(positions_count * sizeof *gathered[at]);
        for (uint64_t i = 0; i < positions_count; i++) positions[at][i] = xorshift(&state) % words;
    }
    char kind[16];
    int threads, passes;
    while (scanf("%15s %d %d", kind, &threads, &passes) == 3) {
        if (threads < 1 || threads > most) return 2;
        /* "random" and "read" begin alike */
        double processor = 0, took = seconds(strcmp(kind, "random") ? kind[0] : 'g', threads, passes, &processor);
        printf("%.9f %.9f\n", took, processor);
        fflush(stdout);
    }
    return 0;
}
