// An image server as one writes it with gRPC for C++: synchronous, everything in memory.
//
//     grpc_cpp_server FOLDER [PORT]      its first line is `listening on 127.0.0.1:PORT`
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include <grpcpp/grpcpp.h>

#include "image_service.grpc.pb.h"

namespace {

using image_service::Image;
using image_service::StreamImagesResponse;

class Service final : public image_service::ImageService::Service {
public:
    explicit Service(const std::filesystem::path &folder)
    {
        for (const auto &entry : std::filesystem::directory_iterator(folder)) {
            if (entry.path().extension() != ".jpg")
                continue;
            std::ifstream file(entry.path(), std::ios::binary);
            std::string content((std::istreambuf_iterator<char>(file)), {});
            StreamImagesResponse &answer = answers_[entry.path().filename()];
            Image *image = answer.mutable_image();
            image->set_name(entry.path().filename());
            image->set_size_in_bytes(static_cast<int32_t>(content.size()));
            image->set_content(std::move(content));
            image->set_format("jpg");
        }
    }

    grpc::Status ListImages(grpc::ServerContext *, const image_service::ListImagesRequest *,
                            image_service::ListImagesResponse *response) override
    {
        for (const auto &answer : answers_)
            response->add_image_names(answer.first);
        return grpc::Status::OK;
    }

    grpc::Status StreamImages(grpc::ServerContext *,
                              const image_service::StreamImagesRequest *request,
                              grpc::ServerWriter<StreamImagesResponse> *writer) override
    {
        for (const std::string &name : request->image_names()) {
            auto found = answers_.find(name);
            if (found != answers_.end() && !writer->Write(found->second))
                return grpc::Status::CANCELLED;
        }
        return grpc::Status::OK;
    }

    bool empty() const
    {
        return answers_.empty();
    }

private:
    std::map<std::string, StreamImagesResponse> answers_;
};

} // namespace

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        std::fprintf(stderr, "usage: grpc_cpp_server FOLDER [PORT]\n");
        return 2;
    }
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, nullptr); // and so in every thread of the library

    Service service(argv[1]);
    if (service.empty()) {
        std::fprintf(stderr, "there are no .jpg files in %s\n", argv[1]);
        return 2;
    }
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(std::string("127.0.0.1:") + (argc == 3 ? argv[2] : "0"),
                             grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service);
    grpc::EnableDefaultHealthCheckService(true);
    auto server = builder.BuildAndStart();
    if (!server || port == 0) {
        std::fprintf(stderr, "cannot listen\n");
        return 1;
    }
    std::printf("listening on 127.0.0.1:%d\n", port);
    std::fflush(stdout);
    int number;
    sigwait(&ends, &number);
    server->Shutdown(std::chrono::system_clock::now());
    return 0;
}
