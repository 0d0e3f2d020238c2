/*
 * gRPC's server reflection: what services there are and how their messages look, so that tools
 * need no schema. Versions 1 and 1alpha differ in their names only.
 */
#include <string.h>

#include "proto/descriptors.h"
#include "proto/image_server.h"
#include "proto/reflection_v1.pb-c.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;
#define ASKED(what)    GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##what
#define ANSWERED(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##what

#define SERVICES_MOST 8

static void reflection_send(struct grpc_call *call, reflection_request *request,
                            reflection_response *response)
{
    response->valid_host = request->host;
    response->original_request = request;
    uint8_t *room = grpc_call_reply(
        call, grpc__reflection__v1__server_reflection_response__get_packed_size(response));
    if (room != NULL)
        grpc__reflection__v1__server_reflection_response__pack(response, room);
}

static void reflection_error(struct grpc_call *call, reflection_request *request, int status,
                             char *text)
{
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;

    error.error_code = status;
    error.error_message = text;
    response.message_response_case = ANSWERED(ERROR_RESPONSE);
    response.error_response = &error;
    reflection_send(call, request, &response);
}

static void reflection_services(struct grpc_call *call, reflection_request *request)
{
    Grpc__Reflection__V1__ServiceResponse services[SERVICES_MOST];
    Grpc__Reflection__V1__ServiceResponse *list[SERVICES_MOST];
    Grpc__Reflection__V1__ListServiceResponse answer =
        GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;

    for (unsigned i = 0; image_services[i] != NULL && i < SERVICES_MOST; i++) {
        grpc__reflection__v1__service_response__init(&services[i]);
        services[i].name = (char *)image_services[i];
        list[answer.n_service++] = &services[i];
    }
    answer.service = list;
    response.message_response_case = ANSWERED(LIST_SERVICES_RESPONSE);
    response.list_services_response = &answer;
    reflection_send(call, request, &response);
}

static void reflection_file(struct grpc_call *call, reflection_request *request,
                            const struct descriptor *file)
{
    Grpc__Reflection__V1__FileDescriptorResponse answer =
        GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    ProtobufCBinaryData bytes;

    if (file == NULL) {
        reflection_error(call, request, GRPC_NOT_FOUND, "there is no such file or symbol here");
        return;
    }
    bytes = (ProtobufCBinaryData){file->size, (uint8_t *)file->bytes};
    answer.n_file_descriptor_proto = 1;
    answer.file_descriptor_proto = &bytes;
    response.message_response_case = ANSWERED(FILE_DESCRIPTOR_RESPONSE);
    response.file_descriptor_response = &answer;
    reflection_send(call, request, &response);
}

static void reflection_message(struct grpc_call *call, const uint8_t *data, size_t size)
{
    struct image_worker *worker = image_worker_of(call);
    bool flat = worker->images->contract == IMAGE_FLAT;
    reflection_request *request =
        grpc__reflection__v1__server_reflection_request__unpack(&worker->allocator, size, data);

    if (request == NULL) {
        grpc_call_finish(call, GRPC_INTERNAL, "this is no ServerReflectionRequest");
        return;
    }
    switch (request->message_request_case) {
    case ASKED(LIST_SERVICES): reflection_services(call, request); break;
    case ASKED(FILE_BY_FILENAME):
        reflection_file(call, request, descriptor_of_file(request->file_by_filename, flat));
        break;
    case ASKED(FILE_CONTAINING_SYMBOL):
        reflection_file(call, request, descriptor_of_symbol(request->file_containing_symbol, flat));
        break;
    case ASKED(FILE_CONTAINING_EXTENSION):
    case ASKED(ALL_EXTENSION_NUMBERS_OF_TYPE):
        reflection_error(call, request, GRPC_NOT_FOUND, "there are no extensions here");
        break;
    default:
        reflection_error(call, request, GRPC_UNIMPLEMENTED, "this cannot be asked here");
        break;
    }
    grpc__reflection__v1__server_reflection_request__free_unpacked(request, &worker->allocator);
}

static void reflection_drain(struct grpc_call *call)
{
    grpc_call_finish(call, GRPC_UNAVAILABLE, "the server goes away");
}

const struct grpc_method reflection_v1 = {
    .path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    .streams_request = true,
    .message = reflection_message,
    .drain = reflection_drain,
};

const struct grpc_method reflection_v1alpha = {
    .path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    .streams_request = true,
    .message = reflection_message,
    .drain = reflection_drain,
};
