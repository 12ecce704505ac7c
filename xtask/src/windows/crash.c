/* Crashes as it is told to: what `cargo xtask windows crash` runs to see that Wine passes it on. */
#include <stdlib.h>
#include <string.h>

static volatile int zero;

static int overflow(int depth)
{
    volatile char room[4096];
    room[depth % 4096] = (char)depth;
    return zero ? 0 : overflow(depth + 1) + room[(depth + 7) % 4096];
}

int main(int count, char **words)
{
    const char *how = count > 1 ? words[1] : "";
    volatile int *nowhere = (volatile int *)(size_t)zero;
    if (!strcmp(how, "return")) return 0;
    if (!strcmp(how, "read")) return *nowhere;
    if (!strcmp(how, "write")) *nowhere = 1;
    if (!strcmp(how, "jump")) ((void (*)(void))(size_t)zero)();
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "overflow")) return overflow(0);
    return 2;
}
