/* What the server's other services say, to the byte, and how it goes away. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/health.pb-c.h"
#include "proto/reflection_v1.pb-c.h"
#include "tests/unit/proto/h2_raw.h"

TestSuite(image_service, .init = raw_open, .fini = raw_close, .timeout = 20);

/* A call with one message, the last of the request if flags says so. */
static void call(uint32_t stream, const char *path, uint8_t flags, const uint8_t *message,
                 size_t size)
{
    const uint8_t prefix[5] = {0, 0, 0, (uint8_t)(size >> 8), (uint8_t)size};
    struct bytes *block = calloc(1, sizeof(*block)), *data = calloc(1, sizeof(*data));

    put_request_fields(block, path);
    put_frame(in, HEADERS, END_HEADERS, stream, block->data, block->size);
    put_raw(data, prefix, sizeof(prefix));
    put_raw(data, message, size);
    put_frame(in, DATA, flags, stream, data->data, data->size);
    free(block);
    free(data);
}

/* The stream's nth message that was sent, which came in a frame of its own. */
static struct frame answer(uint32_t stream, unsigned nth)
{
    const uint8_t *at = rig.side.out, *end = at + rig.side.out_size;
    struct frame got;

    while (next_frame(&at, end, &got))
        if (got.type == DATA && got.stream == stream && got.size > 0 && nth-- == 0)
            break;
    cr_assert(got.type == DATA && got.stream == stream && got.size >= 5, "no such answer");
    cr_assert_eq(got.payload[0], 0);
    got.payload += 5;
    got.size -= 5;
    return got;
}

/* --- reflection --- */

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

static reflection_response *reflect(const char *version, reflection_request *request)
{
    uint8_t message[256];
    char path[96];

    snprintf(path, sizeof(path), "/grpc.reflection.%s.ServerReflection/ServerReflectionInfo",
             version);
    request->host = (char *)"a host";
    size_t size = grpc__reflection__v1__server_reflection_request__pack(request, message);
    call(1, path, END_STREAM, message, size);
    feed();
    struct frame got = answer(1, 0);
    reflection_response *response =
        grpc__reflection__v1__server_reflection_response__unpack(NULL, got.size, got.payload);
    cr_assert_not_null(response);
    cr_assert_str_eq(response->valid_host, "a host");
    cr_assert_eq(count_frames(&rig.side, HEADERS), 2, "headers, and the status");
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 0);
    return response;
}

static void lists_all_services(const char *version)
{
    static const char *const expected[] = {"image_service.ImageService", "grpc.health.v1.Health",
                                           "grpc.reflection.v1.ServerReflection",
                                           "grpc.reflection.v1alpha.ServerReflection"};
    reflection_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;

    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    request.list_services = (char *)"";
    reflection_response *response = reflect(version, &request);
    cr_assert_eq(
        response->message_response_case,
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE);
    const Grpc__Reflection__V1__ListServiceResponse *list = response->list_services_response;
    cr_assert_eq(list->n_service, sizeof(expected) / sizeof(*expected));
    for (unsigned i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
        bool found = false;
        for (size_t k = 0; k < list->n_service && !found; k++)
            found = strcmp(list->service[k]->name, expected[i]) == 0;
        cr_assert(found, "%s", expected[i]);
    }
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

Test(image_service, reflection_v1_lists_the_services)
{
    lists_all_services("v1");
}

Test(image_service, reflection_v1alpha_lists_the_services)
{
    lists_all_services("v1alpha");
}

Test(image_service, reflection_v1_has_the_file_of_a_symbol)
{
    reflection_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;

    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    request.file_containing_symbol = (char *)"image_service.ImageService";
    reflection_response *response = reflect("v1", &request);
    const Grpc__Reflection__V1__FileDescriptorResponse *files = response->file_descriptor_response;
    cr_assert_eq(files->n_file_descriptor_proto, 1);
    const ProtobufCBinaryData *file = &files->file_descriptor_proto[0];
    /* A FileDescriptorProto begins with the file's name: field 1. */
    cr_assert_gt(file->len, 20u);
    cr_assert_eq(file->data[0], 0x0a);
    cr_assert_arr_eq(file->data + 2, "proto/image_service", 19);
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

Test(image_service, reflection_v1_says_what_is_not_there)
{
    reflection_request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;

    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME;
    request.file_by_filename = (char *)"no/such.proto";
    reflection_response *response = reflect("v1", &request);
    cr_assert_eq(response->error_response->error_code, GRPC_NOT_FOUND);
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

/* --- health, and the end --- */

static int health_answer(unsigned nth)
{
    struct frame got = answer(1, nth);
    Grpc__Health__V1__HealthCheckResponse *response =
        grpc__health__v1__health_check_response__unpack(NULL, got.size, got.payload);

    cr_assert_not_null(response);
    int status = (int)response->status;
    grpc__health__v1__health_check_response__free_unpacked(response, NULL);
    return status;
}

static void drain(void)
{
    cr_assert_geq(grpc_server_proto.drain(&rig.server), 0);
    side_pull(&rig.side);
}

Test(image_service, who_watches_hears_that_the_server_goes)
{
    call(1, "/grpc.health.v1.Health/Watch", END_STREAM, (const uint8_t *)"", 0);
    feed();
    cr_assert_eq(health_answer(0),
                 GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    drain();
    cr_assert_eq(health_answer(1),
                 GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
    cr_assert_eq(count_frames(&rig.side, HEADERS), 2, "and the status");
    cr_assert_eq(answer_status(1), GRPC_OK);
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 0);
}

/* An open stream of questions would hold the end up for as long as it may last. */
Test(image_service, streams_of_questions_end_with_the_server)
{
    static const char *const versions[] = {"v1", "v1alpha"};
    char path[96];

    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "/grpc.reflection.%s.ServerReflection/ServerReflectionInfo",
                 versions[i]);
        call(1 + 2 * i, path, 0, (const uint8_t *)"\x3a", 2);
    }
    feed();
    cr_assert_eq(answer_status(1), -1);
    drain();
    frame(PING, ACK, 0, "drain\0\0\0", 8);
    feed();
    cr_assert_eq(answer_status(1), GRPC_UNAVAILABLE);
    cr_assert_eq(answer_status(3), GRPC_UNAVAILABLE);
}

static uint32_t last_stream(const struct frame *goaway)
{
    const uint8_t *p = goaway->payload;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* RFC 9113, 6.8: what the other end began before it heard the notice is still served, so that the
 * PING whose answer says so goes behind the notice. */
Test(image_service, a_drain_gives_notice_then_asks_and_then_names_the_last_stream)
{
    struct frame got[16];
    unsigned count = 0;

    put_request(in, 1, LIST);
    feed();
    size_t before = rig.side.out_size;
    drain();
    put_request(in, 3, LIST); /* under way meanwhile */
    frame(PING, ACK, 0, "drain\0\0\0", 8);
    feed();
    const uint8_t *at = rig.side.out + before, *end = rig.side.out + rig.side.out_size;
    while (count < 16 && next_frame(&at, end, &got[count]))
        if (got[count].type == GOAWAY || got[count].type == PING)
            count++;
    cr_assert_eq(count, 3);
    cr_assert_eq(got[0].type, GOAWAY);
    cr_assert_eq(last_stream(&got[0]), 0x7fffffff);
    cr_assert_eq(got[1].type, PING);
    cr_assert_eq(got[2].type, GOAWAY);
    cr_assert_eq(last_stream(&got[2]), 3);
    cr_assert_eq(server_count(&rig, GRPC_CALLS), 2);
    cr_assert_eq(server_count(&rig, GRPC_FAILED), 0);
}
