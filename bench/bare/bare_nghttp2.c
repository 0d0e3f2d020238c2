/*
 * A bare gRPC pair over nghttp2: what one thread a side can do with level-triggered epoll, DATA
 * frames whose payload is never copied (NGHTTP2_DATA_FLAG_NO_COPY), large frames, large gathers and
 * windows that never close. The limit that lab's image stream is compared with.
 *
 *     bare_nghttp2 server --port 0 --images build/proto --cpu 0
 *     bare_nghttp2 client --port P --images build/proto --cpu 1 --images-per-op 33
 *     bare_nghttp2 client --port P --images build/proto --cpu 1 --list --connections 32 --streams
 * 10
 */
#include "bare_events.h"

#include <dirent.h>
#include <nghttp2/nghttp2.h>
#include <sys/signalfd.h>
#include <sys/uio.h>

#define IMAGES_MAX  64u
#define GATHER_MAX  512u        /* pieces of a sendmsg() */
#define SMALL_MAX   (64u * KIB) /* of a gather: frame heads and whole frames that are not DATA */
#define REQUEST_MAX (64u * KIB)

static struct {
    const char *images;
    size_t window, frame, gather;
    unsigned streams, images_per_op;
    bool list;
} more = {
    .window = 16 << 20,
    .frame = 1 << 20,
    .gather = 512 * KIB,
    .streams = 1,
    .images_per_op = 33,
};

static void take_option(int letter, const char *value)
{
    static const double one = 1, sizes[] = {1024, 1048576};

    switch (letter) {
    case 'I': more.images = value; break;
    case 'L': more.list = true; break;
    case 'N':
        more.images_per_op = (unsigned)parse_number("images-per-op", value, "", &one, 1, 4096);
        break;
    case 'M': more.streams = (unsigned)parse_number("streams", value, "", &one, 1, 10000); break;
    case 'W':
        more.window = (size_t)parse_number("window", value, "k m ", sizes, 65535, 2147483647);
        break;
    case 'F':
        more.frame = (size_t)parse_number("frame", value, "k m ", sizes, 16384, 16777215);
        break;
    case 'G': more.gather = (size_t)parse_number("gather", value, "k m ", sizes, 1, 1 << 24); break;
    default: usage(2);
    }
}

static const struct more_options http2_options = {
    .names =
        (const struct option[]){
            {"images", 1, 0, 'I'},
            {"list", 0, 0, 'L'},
            {"images-per-op", 1, 0, 'N'},
            {"streams", 1, 0, 'M'},
            {"window", 1, 0, 'W'},
            {"frame", 1, 0, 'F'},
            {"gather", 1, 0, 'G'},
            {NULL, 0, NULL, 0},
        },
    .take = take_option,
    .help = "and of gRPC (--size and --one-way mean nothing):\n"
            "  --images FOLDER   the .jpg files that are served and checked; must be given\n"
            "  --list            client: ListImages in the place of StreamImages\n"
            "  --images-per-op N client: images a StreamImages, default 33\n"
            "  --streams N       client: RPCs under way on a connection, default 1\n"
            "  --window N        of streams and connections, default 16m\n"
            "  --frame N         payload of a DATA frame at most, default 1m\n"
            "  --gather N        bytes collected before they are sent, default 512k\n",
};

/* ---- the answers, encoded once ---- */

/* A piece of an answer. A message is three: what comes before the content, it, what follows. */
struct piece {
    const char *data;
    size_t size;
};

static struct image {
    char *name;
    char *content;
    size_t size;
    char head[384], tail[32];
    struct piece pieces[3];
    size_t message_size; /* with the 5 bytes that gRPC puts before it */
} images[IMAGES_MAX];
static unsigned image_count;
static size_t image_size_least = SIZE_MAX;
static struct piece list_answer;

static char *put_varint(char *to, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *to++ = (char)(value | 0x80);
    *to++ = (char)value;
    return to;
}

static size_t varint_size(uint64_t value)
{
    size_t size = 1;

    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

static char *put_bytes(char *to, unsigned field, const char *data, size_t size)
{
    *to++ = (char)(field << 3 | 2);
    to = put_varint(to, size);
    memcpy(to, data, size);
    return to + size;
}

static char *put_prefix(char *to, size_t size)
{
    uint32_t length = htonl((uint32_t)size);

    *to++ = 0;
    memcpy(to, &length, 4);
    return to + 4;
}

/* StreamImagesResponse{image = 1: Image{name = 1, content = 2, format = 3, size_in_bytes = 4}} */
static void encode_image(struct image *image)
{
    size_t name_size = strlen(image->name), inner, outer;
    char *tail = image->tail, *head = image->head;

    tail = put_bytes(tail, 3, "jpg", 3);
    *tail++ = 4 << 3;
    tail = put_varint(tail, image->size);
    inner = 1 + varint_size(name_size) + name_size + 1 + varint_size(image->size) + image->size +
            (size_t)(tail - image->tail);
    outer = 1 + varint_size(inner) + inner;
    head = put_prefix(head, outer);
    *head++ = 1 << 3 | 2;
    head = put_varint(head, inner);
    head = put_bytes(head, 1, image->name, name_size);
    *head++ = 2 << 3 | 2;
    head = put_varint(head, image->size);
    image->pieces[0] = (struct piece){image->head, (size_t)(head - image->head)};
    image->pieces[1] = (struct piece){image->content, image->size};
    image->pieces[2] = (struct piece){image->tail, (size_t)(tail - image->tail)};
    image->message_size = 5 + outer;
}

static void load_image(const char *name)
{
    struct image *image = &images[image_count];
    char path[4096];
    FILE *file;
    long size;

    snprintf(path, sizeof(path), "%s/%s", more.images, name);
    file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) <= 0)
        die("cannot read %s: %s", path, file ? "it is empty" : strerror(errno));
    if (image_count == IMAGES_MAX || strlen(name) > 255)
        die("%s: more than %u images, or a name that is too long", path, IMAGES_MAX);
    rewind(file);
    image->name = strdup(name);
    image->size = (size_t)size;
    image->content = pages(image->size);
    if (!image->name || fread(image->content, 1, image->size, file) != image->size)
        die("cannot read %s whole", path);
    fclose(file);
    encode_image(image);
    image_count++;
    image_size_least = image->size < image_size_least ? image->size : image_size_least;
}

static int is_jpeg(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return length > 4 && !strcmp(entry->d_name + length - 4, ".jpg");
}

static void load_images(void)
{
    struct dirent **entries;
    int count = more.images ? scandir(more.images, &entries, is_jpeg, alphasort) : 0;
    static char list[5 + IMAGES_MAX * 260];
    char *to = list + 5;

    if (count <= 0)
        die("--images FOLDER: there must be .jpg files in it");
    for (int i = 0; i < count; i++) {
        load_image(entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    for (unsigned i = 0; i < image_count; i++)
        to = put_bytes(to, 1, images[i].name, strlen(images[i].name));
    put_prefix(list, (size_t)(to - list) - 5);
    list_answer = (struct piece){list, (size_t)(to - list)};
}

/* Where one is in an answer: images[order[at]], or the list. */
struct place {
    const uint8_t *order;
    unsigned count, at, piece;
    size_t offset;
};

/* What comes next of the answer, at most size bytes: never none as long as the answer goes on. */
static inline struct piece next_piece(struct place *place, size_t size)
{
    const struct piece *piece = &list_answer;
    struct piece part;

    if (place->order)
        piece = &images[place->order[place->at]].pieces[place->piece];
    part = (struct piece){piece->data + place->offset, piece->size - place->offset};
    if (part.size > size) {
        part.size = size;
        place->offset += size;
        return part;
    }
    place->offset = 0;
    if (!place->order || ++place->piece == 3) {
        place->piece = 0;
        place->at++;
    }
    return part;
}

static uint64_t answer_size(const uint8_t *order, unsigned count)
{
    uint64_t size = order ? 0 : list_answer.size;

    for (unsigned i = 0; order && i < count; i++)
        size += images[order[i]].message_size;
    return size;
}

/* ---- a connection, both sides ---- */

struct conn {
    nghttp2_session *session;
    int fd;
    uint32_t events; /* what epoll is asked for */
    unsigned index;
    bool refused; /* the library has more, and found no room for it */
    struct iovec gather[GATHER_MAX];
    unsigned gather_at, gather_count;
    size_t gather_bytes, small_used;
    char small[SMALL_MAX];
};

/* Sends what was gathered. False: the socket is full. */
static bool flush(struct conn *conn)
{
    while (conn->gather_bytes > 0) {
        struct msghdr message = {
            .msg_iov = conn->gather + conn->gather_at,
            .msg_iovlen = conn->gather_count - conn->gather_at,
        };
        ssize_t n = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

        meter.now.syscalls++;
        if (n < 0) {
            if (errno == EAGAIN)
                return false;
            /* The peer is gone: reading says so. */
            conn->gather_at = conn->gather_count;
            conn->gather_bytes = 0;
            break;
        }
        conn->gather_bytes -= (size_t)n;
        while (n > 0) {
            struct iovec *piece = &conn->gather[conn->gather_at];
            size_t part = (size_t)n < piece->iov_len ? (size_t)n : piece->iov_len;

            piece->iov_base = (char *)piece->iov_base + part;
            piece->iov_len -= part;
            n -= (ssize_t)part;
            conn->gather_at += piece->iov_len == 0;
        }
    }
    conn->gather_at = conn->gather_count = 0;
    conn->small_used = 0;
    return true;
}

/* Is there room for so many pieces and small bytes? Sends first where there is enough. */
static inline bool make_room(struct conn *conn, unsigned pieces, size_t small)
{
    if (conn->gather_bytes < more.gather && conn->gather_count + pieces <= GATHER_MAX &&
        conn->small_used + small <= SMALL_MAX)
        return true;
    return flush(conn);
}

static inline void gather(struct conn *conn, const char *data, size_t size)
{
    conn->gather[conn->gather_count++] = (struct iovec){(void *)data, size};
    conn->gather_bytes += size;
}

static inline void gather_copy(struct conn *conn, const void *data, size_t size)
{
    char *copy = conn->small + conn->small_used;
    struct iovec *last =
        conn->gather_count > conn->gather_at ? &conn->gather[conn->gather_count - 1] : NULL;

    memcpy(copy, data, size);
    conn->small_used += size;
    if (last != NULL && (char *)last->iov_base + last->iov_len == copy) {
        last->iov_len += size;
        conn->gather_bytes += size;
    } else {
        gather(conn, copy, size);
    }
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t size, int flags,
                       void *user)
{
    struct conn *conn = user;

    (void)session, (void)flags;
    size = size < SMALL_MAX ? size : SMALL_MAX;
    if (!make_room(conn, 1, size)) {
        conn->refused = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    gather_copy(conn, data, size);
    return (ssize_t)size;
}

static ssize_t on_read_length(nghttp2_session *session, uint8_t frame_type, int32_t stream_id,
                              int32_t session_window, int32_t stream_window, uint32_t frame_max,
                              void *user)
{
    (void)session, (void)frame_type, (void)stream_id, (void)user;
    (void)session_window, (void)stream_window;
    return (ssize_t)(more.frame < frame_max ? more.frame : frame_max);
}

static void send_all(struct conn *conn)
{
    uint32_t wanted = EPOLLIN;
    bool sent;

    do {
        conn->refused = false;
        if (nghttp2_session_send(conn->session))
            die("nghttp2 cannot send");
        sent = flush(conn);
        /* A socket that was full a moment ago may have room again: then nobody else would ask. */
    } while (sent && conn->refused);
    if (!sent)
        wanted |= EPOLLOUT;
    if (wanted != conn->events) {
        conn->events = wanted;
        meter.now.syscalls++;
        watch(EPOLL_CTL_MOD, conn->fd, wanted, (uint64_t)(uintptr_t)conn);
    }
}

/* One receive and all that follows from it. False: the peer is gone, or says nonsense. */
static bool on_events(struct conn *conn, uint32_t ready, char *buffer)
{
    if (ready & ~(uint32_t)EPOLLOUT) {
        ssize_t n = recv(conn->fd, buffer, opt.rbuf, 0);

        meter.now.syscalls++;
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return false;
        if (n > 0 && nghttp2_session_mem_recv(conn->session, (uint8_t *)buffer, (size_t)n) != n)
            return false;
    }
    send_all(conn);
    return true;
}

static struct conn *open_conn(int fd, unsigned index, nghttp2_session_callbacks *callbacks)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 10000},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)more.window},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, (uint32_t)more.frame},
    };
    nghttp2_option *options;

    if (!conn || nghttp2_option_new(&options))
        die("no memory for a connection");
    conn->fd = fd;
    conn->index = index;
    conn->events = EPOLLIN;
    nghttp2_option_set_no_closed_streams(options, 1);
    if (opt.server)
        nghttp2_session_server_new2(&conn->session, callbacks, conn, options);
    else
        nghttp2_session_client_new2(&conn->session, callbacks, conn, options);
    nghttp2_option_del(options);
    if (!conn->session || nghttp2_submit_settings(conn->session, 0, settings, 3) ||
        nghttp2_session_set_local_window_size(conn->session, 0, 0, (int32_t)more.window))
        die("no memory for a session");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    watch(EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)(uintptr_t)conn);
    return conn;
}

static void close_conn(struct conn *conn)
{
    nghttp2_session_del(conn->session);
    close(conn->fd);
    free(conn);
}

#define FIELD(name, value)                                                                         \
    {                                                                                              \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1,                \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                           \
    }

/* ---- server ---- */

static uint64_t rpcs_served;

struct call {
    struct place place; /* order is owned */
    uint64_t left;
    bool list, known;
    size_t size, room;
    char *request; /* the body so far */
};

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct call *call = calloc(1, sizeof(*call));

    (void)user;
    if (!call)
        die("no memory for an RPC");
    return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    static const char stream[] = "/image_service.ImageService/StreamImages";
    static const char list[] = "/image_service.ImageService/ListImages";
    struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)flags, (void)user;
    if (!call || name_size != 5 || memcmp(name, ":path", 5))
        return 0;
    call->list = value_size == sizeof(list) - 1 && !memcmp(value, list, value_size);
    call->known =
        call->list || (value_size == sizeof(stream) - 1 && !memcmp(value, stream, value_size));
    return 0;
}

static int on_request_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                           const uint8_t *data, size_t size, void *user)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, stream_id);

    (void)flags, (void)user;
    if (!call || call->list)
        return 0;
    if (call->size + size > REQUEST_MAX)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (call->size + size > call->room) {
        call->room = (call->size + size) * 2;
        call->request = realloc(call->request, call->room);
        if (!call->request)
            die("no memory for a request");
    }
    memcpy(call->request + call->size, data, size);
    call->size += size;
    return 0;
}

/* The names asked for, as indices; what is unknown is skipped. */
static void read_request(struct call *call)
{
    const char *at = call->request + 5, *end = call->request + call->size;
    uint8_t *order = malloc(call->size + 1);

    if (!order)
        die("no memory for a request");
    while (end - at >= 2 && *at == (1 << 3 | 2)) {
        size_t length = (uint8_t)at[1];

        at += 2;
        if (length > 127 || (size_t)(end - at) < length)
            break;
        for (unsigned i = 0; i < image_count; i++)
            if (strlen(images[i].name) == length && !memcmp(images[i].name, at, length))
                order[call->place.count++] = (uint8_t)i;
        at += length;
    }
    call->place.order = order;
}

static ssize_t on_read(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    static const nghttp2_nv trailers[] = {FIELD("grpc-status", "0")};
    struct call *call = source->ptr;
    size_t size = length < call->left ? length : (size_t)call->left;

    (void)buf, (void)user;
    call->left -= size;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (call->left == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, stream_id, trailers, 1);
    }
    return (ssize_t)size;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t length, nghttp2_data_source *source, void *user)
{
    struct conn *conn = user;
    struct call *call = source->ptr;
    size_t pieces = 4 + 3 * (1 + length / image_size_least); /* at most, the frame's head with it */

    (void)session, (void)frame;
    if (pieces > GATHER_MAX)
        die("--frame: images so small as these need smaller frames");
    if (!make_room(conn, (unsigned)pieces, 9 + pieces * 64)) {
        conn->refused = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    gather_copy(conn, head, 9);
    meter.now.bytes += length;
    while (length > 0) {
        struct piece piece = next_piece(&call->place, length);

        if (piece.size <= 64)
            gather_copy(conn, piece.data, piece.size);
        else
            gather(conn, piece.data, piece.size);
        length -= piece.size;
    }
    return 0;
}

static int on_request(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    static const nghttp2_nv answer[] = {FIELD(":status", "200"),
                                        FIELD("content-type", "application/grpc")};
    static const nghttp2_nv unknown[] = {FIELD(":status", "200"),
                                         FIELD("content-type", "application/grpc"),
                                         FIELD("grpc-status", "12")};
    struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    nghttp2_data_provider provider = {.source.ptr = call, .read_callback = on_read};

    (void)user;
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || !call)
        return 0;
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (!call->known || (!call->list && call->size < 5))
        return nghttp2_submit_response(session, frame->hd.stream_id, unknown, 3, NULL);
    if (!call->list)
        read_request(call);
    call->left = answer_size(call->place.order, call->place.count);
    rpcs_served++;
    return nghttp2_submit_response(session, frame->hd.stream_id, answer, 2, &provider);
}

static int on_call_closed(nghttp2_session *session, int32_t stream_id, uint32_t error, void *user)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, stream_id);

    (void)error, (void)user;
    if (call) {
        free((void *)call->place.order);
        free(call->request);
        free(call);
    }
    return 0;
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks))
        die("no memory for callbacks");
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, on_read_length);
    return callbacks;
}

/* True: time to end. */
static bool serve(int listener, int stop, nghttp2_session_callbacks *callbacks, char *buffer)
{
    struct epoll_event events[EVENTS];
    int ready = wait_events(events);

    for (int i = 0; i < ready; i++) {
        struct conn *conn = (struct conn *)(uintptr_t)events[i].data.u64;
        int fd;

        if (unlikely(events[i].data.u64 == (uint64_t)stop))
            return true;
        if (unlikely(events[i].data.u64 == (uint64_t)listener)) {
            while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
                send_all(open_conn(fd, 0, callbacks));
        } else if (!on_events(conn, events[i].events, buffer)) {
            close_conn(conn);
        }
    }
    return false;
}

static void run_server(char *buffer)
{
    nghttp2_session_callbacks *callbacks = make_callbacks();
    sigset_t term;
    int listener, stop;

    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_request_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_request);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_call_closed);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    stop = signalfd(-1, &term, SFD_CLOEXEC);
    listener = make_listener(SOCK_NONBLOCK);
    /* A file descriptor is never as large as a pointer. */
    watch(EPOLL_CTL_ADD, stop, EPOLLIN, (uint64_t)stop);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN, (uint64_t)listener);
    while (!serve(listener, stop, callbacks, buffer))
        ;
    nghttp2_session_callbacks_del(callbacks);
    print_server_ops(&meter.now, rpcs_served);
}

/* ---- client ---- */

/* An RPC under way; asked again as soon as it is answered. */
struct rpc {
    struct place place;
    uint64_t begun_ns, left;
    size_t sent;
    bool good; /* grpc-status: 0 has come */
};

static char *request;
static size_t request_size;
static uint8_t *request_order; /* NULL: the list */
static bool window_over;

static ssize_t on_read_request(nghttp2_session *session, int32_t stream_id, uint8_t *buf,
                               size_t length, uint32_t *flags, nghttp2_data_source *source,
                               void *user)
{
    struct rpc *rpc = source->ptr;
    size_t size = request_size - rpc->sent;

    (void)session, (void)stream_id, (void)user;
    size = size < length ? size : length;
    memcpy(buf, request + rpc->sent, size);
    rpc->sent += size;
    if (rpc->sent == request_size)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static void ask(struct conn *conn, struct rpc *rpc, uint64_t now)
{
    static const nghttp2_nv fields[2][6] = {
        {FIELD(":method", "POST"), FIELD(":scheme", "http"),
         FIELD(":path", "/image_service.ImageService/StreamImages"),
         FIELD(":authority", "localhost"), FIELD("te", "trailers"),
         FIELD("content-type", "application/grpc")},
        {FIELD(":method", "POST"), FIELD(":scheme", "http"),
         FIELD(":path", "/image_service.ImageService/ListImages"), FIELD(":authority", "localhost"),
         FIELD("te", "trailers"), FIELD("content-type", "application/grpc")},
    };
    nghttp2_data_provider provider = {.source.ptr = rpc, .read_callback = on_read_request};

    *rpc = (struct rpc){
        .place = {.order = request_order, .count = more.images_per_op},
        .begun_ns = now,
        .left = answer_size(request_order, more.images_per_op),
    };
    if (nghttp2_submit_request(conn->session, NULL, fields[more.list], 6, &provider, rpc) < 0)
        die("nghttp2 cannot take a request");
}

static int on_answer_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                          const uint8_t *data, size_t size, void *user)
{
    struct rpc *rpc = nghttp2_session_get_stream_user_data(session, stream_id);
    struct conn *conn = user;

    (void)flags;
    if (!rpc)
        return 0;
    if (size > rpc->left)
        die("connection %u: an answer is longer than it should be", conn->index);
    rpc->left -= size;
    while (opt.verify && size > 0) {
        struct piece piece = next_piece(&rpc->place, size);

        if (memcmp(data, piece.data, piece.size))
            die("connection %u: image %u of an answer is wrong", conn->index, rpc->place.at);
        data += piece.size;
        size -= piece.size;
    }
    return 0;
}

static int on_answer_header(nghttp2_session *session, const nghttp2_frame *frame,
                            const uint8_t *name, size_t name_size, const uint8_t *value,
                            size_t value_size, uint8_t flags, void *user)
{
    struct rpc *rpc = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)flags, (void)user;
    if (rpc && name_size == 11 && !memcmp(name, "grpc-status", 11))
        rpc->good = value_size == 1 && *value == '0';
    return 0;
}

static int on_answered(nghttp2_session *session, int32_t stream_id, uint32_t error, void *user)
{
    struct rpc *rpc = nghttp2_session_get_stream_user_data(session, stream_id);
    struct conn *conn = user;
    uint64_t now = now_ns();

    if (!rpc || window_over)
        return 0;
    if (error || !rpc->good || rpc->left > 0)
        die("connection %u: an RPC failed: HTTP/2 error %u, %s, %" PRIu64 " bytes missing",
            conn->index, error, rpc->good ? "status OK" : "no good status", rpc->left);
    window_over = op_done(now, now - rpc->begun_ns);
    ask(conn, rpc, now);
    return 0;
}

static void make_request(void)
{
    char *to;

    request = zeroed(5 + more.images_per_op * 260, 1);
    to = request + 5;
    opt.size = list_answer.size;
    if (!more.list) {
        request_order = zeroed(more.images_per_op, 1);
        opt.size = 0;
    }
    for (unsigned i = 0; !more.list && i < more.images_per_op; i++) {
        const struct image *image = &images[i % image_count];

        /* The names, repeated. */
        request_order[i] = (uint8_t)(i % image_count);
        to = put_bytes(to, 1, image->name, strlen(image->name));
        opt.size += image->size;
    }
    request_size = (size_t)(to - request);
    put_prefix(request, request_size - 5);
}

static void run_client(char *buffer)
{
    nghttp2_session_callbacks *callbacks = make_callbacks();
    struct conn **conns = zeroed(opt.connections, sizeof(*conns));
    struct rpc *rpcs = zeroed(opt.connections * more.streams, sizeof(*rpcs));
    struct epoll_event events[EVENTS];

    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_answer_data);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_answer_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_answered);
    make_request();
    for (unsigned i = 0; i < opt.connections; i++)
        conns[i] = open_conn(connect_one(), i, callbacks);
    start_window();
    for (unsigned i = 0; i < opt.connections; i++) {
        for (unsigned j = 0; j < more.streams; j++)
            ask(conns[i], &rpcs[i * more.streams + j], now_ns());
        send_all(conns[i]);
    }
    while (!window_over) {
        int ready = wait_events(events);

        for (int i = 0; i < ready && !window_over; i++) {
            struct conn *conn = (struct conn *)(uintptr_t)events[i].data.u64;

            if (!on_events(conn, events[i].events, buffer))
                server_gone(conn->index, 0);
        }
    }
    print_meter();
    for (unsigned i = 0; i < opt.connections; i++)
        close_conn(conns[i]);
    nghttp2_session_callbacks_del(callbacks);
    free(rpcs);
    free(conns);
}

int main(int argc, char **argv)
{
    char *buffer;

    opt.rbuf = 128 * KIB;
    more_options = &http2_options;
    parse_options(argc, argv, CAN_SPIN | CAN_SOCKET | CAN_VERIFY);
    load_images();
    set_up_process();
    epfd = epoll_create1(EPOLL_CLOEXEC);
    buffer = pages(opt.rbuf);
    if (opt.server)
        run_server(buffer);
    else
        run_client(buffer);
    free(buffer);
    return 0;
}
