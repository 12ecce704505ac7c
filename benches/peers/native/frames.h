/* The wire format, as benches/limits/src/frames.rs has it: u16 little-endian total length (the 4
 * header bytes included), u16 little-endian id, payload. For C and C++. */
#ifndef PEERS_FRAMES_H
#define PEERS_FRAMES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 4, RECV_BYTES = 64 * 1024, UNSENT_BYTES_MAX = 8 * 1024 * 1024 };

/* Bytes that grow; memory that runs out ends the program. */
struct bytes {
    char *at;
    size_t length, room;
};

static inline void bytes_add(struct bytes *to, const char *from, size_t count) {
    if (to->length + count > to->room) {
        size_t room = 2 * to->room > to->length + count ? 2 * to->room : to->length + count;
        to->at = (char *)realloc(to->at, room);
        if (to->at == NULL) abort();
        to->room = room;
    }
    memcpy(to->at + to->length, from, count);
    to->length += count;
}

/* Copies every whole frame to the end of `out`, one by one. Returns how many bytes were whole
 * frames, or -1 if a header claims fewer bytes than a header has. */
static inline ptrdiff_t frames_echo(const char *at, size_t length, struct bytes *out) {
    size_t done = 0;
    while (length - done >= 2) {
        size_t frame = (uint8_t)at[done] | (size_t)(uint8_t)at[done + 1] << 8;
        if (frame < HEADER_BYTES) return -1;
        if (length - done < frame) break;
        bytes_add(out, at + done, frame);
        done += frame;
    }
    return (ptrdiff_t)done;
}

/* The same for what a connection received, with what it kept of a frame whose rest had not come.
 * Returns -1 for a wrong length. */
static inline int frames_take(struct bytes *kept, const char *at, size_t count, struct bytes *out) {
    ptrdiff_t whole;
    out->length = 0;
    if (kept->length == 0) {
        whole = frames_echo(at, count, out);
        if (whole < 0) return -1;
        if ((size_t)whole < count) bytes_add(kept, at + whole, count - (size_t)whole);
        return 0;
    }
    bytes_add(kept, at, count);
    whole = frames_echo(kept->at, kept->length, out);
    if (whole < 0) return -1;
    kept->length -= (size_t)whole;
    memmove(kept->at, kept->at + whole, kept->length);
    return 0;
}

#endif
