/* Randomness that a seed decides, for the processes of the simulation only (LD_PRELOAD).
 *
 * Why it exists: the order of hash tables, tokio's choices among ready branches and openraft's election
 * timeouts all come from getrandom, which no seed of ours reaches. Each thread gets the same numbers, so
 * that it does not matter which thread asks first.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

static __thread uint64_t state;
static __thread int begun;

static uint64_t next(void) {
    if (!begun) {
        const char *seed = getenv("TETRARCH_SIM_ENTROPY");
        state = seed ? strtoull(seed, NULL, 10) : 0;
        begun = 1;
    }
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
    (void)flags;
    unsigned char *bytes = buffer;
    for (size_t at = 0; at < length; at++) {
        bytes[at] = (unsigned char)(next() >> 24);
    }
    return (ssize_t)length;
}

int getentropy(void *buffer, size_t length) {
    return getrandom(buffer, length, 0) < 0 ? -1 : 0;
}
