/*
 * Feeds text to the reader of links. What is taken must be written in a form that is taken again
 * and means the same, from either side; what is refused must leave a sentence.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/link.h"
#include "core/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int good)
{
    if (!good)
        abort();
}

static void check_same(const struct link *a, const struct link *b)
{
    check(a->kind == b->kind && a->side == b->side && a->index == b->index && a->mtu == b->mtu);
    check(a->address.s_addr == b->address.s_addr && a->peer.s_addr == b->peer.s_addr);
    check(a->prefix == b->prefix && a->gateway.s_addr == b->gateway.s_addr);
    check(memcmp(a->mac, b->mac, 6) == 0 && memcmp(a->peer_mac, b->peer_mac, 6) == 0);
    check(strcmp(a->device, b->device) == 0 && strcmp(a->peer_device, b->peer_device) == 0);
}

static void check_taken(const struct link *link)
{
    struct link again, turned, back;
    char text[LINK_TEXT_MAX], listen[ADDR_TEXT_MAX];
    struct addr addr;

    /* A side that is not written is the reader's. */
    check(link_parse(link_format(link, text), (enum link_side)link->side, &again, NULL) == 0);
    check_same(link, &again);
    if (link->kind->device_needed && link->peer_device[0] == '\0')
        return; /* nobody has said what the other side's is */
    link_turn(link, &turned);
    check(turned.side != link->side && turned.address.s_addr == link->peer.s_addr);
    check(link_parse(link_format(&turned, text), (enum link_side)turned.side, &again, NULL) == 0);
    check_same(&turned, &again);
    link_turn(&turned, &back);
    check(back.address.s_addr == link->address.s_addr && back.side == link->side);
    check(addr_parse(link_listen(link, "x", 1, listen), 0, "", &addr, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct link link = {0};
    struct lab_error err = {""};
    char *text = malloc(size + 1);

    check(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    size_t length = link_length(text);
    check(length <= size && (text[length] == ',' || text[length] == '\0'));
    int r = link_parse(text, LINK_CLIENT, &link, &err);
    if (r == 0) {
        check_taken(&link);
    } else {
        check(r == -EINVAL && link.kind == NULL);
        check(err.text[0] != '\0' && text_is_clean(err.text));
    }
    free(text);
    return 0;
}
