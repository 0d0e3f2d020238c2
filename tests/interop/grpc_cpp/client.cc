// A client of the image service as one writes it with gRPC for C++: one thread, one completion
// queue, so many calls under way on each of so many connections. Every image is checked: its name,
// its length, and with --images its content.
//
//     grpc_cpp_client ADDRESS [--connections N] [--streams N] [--images-per-op N] [--list]
//                     [--seconds T] [--warmup T] [--ops N] [--images FOLDER]
//
// Prints a line of JSON for its window; --ops N: for N RPCs, without a warm-up. Exit 1 if an RPC
// failed or an image was wrong.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "image_service.grpc.pb.h"

namespace {

using image_service::ImageService;
using Clock = std::chrono::steady_clock;

struct Options {
    std::string address, images;
    unsigned connections = 1, streams = 1, images_per_op = 33;
    unsigned long ops = 0;
    double seconds = 1, warmup = 0.1;
    bool list = false;
};

// What is asked for, what is right, and what was counted.
struct Run {
    Options options;
    std::vector<std::string> names; // as the server lists them
    image_service::StreamImagesRequest request;
    std::map<std::string, std::string> contents; // with --images
    Clock::time_point begin, end;
    std::vector<double> latencies_ns;
    unsigned long ops = 0, errors = 0;
    unsigned long long bytes = 0;
    std::string first_error;
    bool over = false;

    void fail(const std::string &what)
    {
        if (errors++ == 0)
            first_error = what;
    }

    // An RPC has ended; its time counts if it ended within the window.
    void done(Clock::time_point begun, unsigned long long rpc_bytes)
    {
        Clock::time_point now = Clock::now();
        bool counts = options.ops > 0 || (now >= begin && now < end);

        if (counts) {
            ops++;
            bytes += rpc_bytes;
            latencies_ns.push_back(std::chrono::duration<double, std::nano>(now - begun).count());
        }
        over = options.ops > 0 ? ops + errors >= options.ops : now >= end;
    }

    bool right(const image_service::Image &image, unsigned number)
    {
        const std::string &name = names[number % names.size()];

        if (image.name() != name || image.content().empty() ||
            static_cast<size_t>(image.size_in_bytes()) != image.content().size())
            return false;
        auto found = contents.find(name);
        return contents.empty() ||
               (found != contents.end() && found->second == image.content());
    }
};

class Call {
public:
    virtual ~Call() = default;
    virtual void next(bool ok) = 0;
};

class ListCall final : public Call {
public:
    ListCall(Run &run, ImageService::Stub &stub, grpc::CompletionQueue &queue)
        : run_(run), stub_(stub), queue_(queue)
    {
        ask();
    }

    void next(bool ok) override
    {
        if (!ok || !status_.ok() ||
            static_cast<size_t>(answer_.image_names_size()) != run_.names.size())
            run_.fail("ListImages: " + status_.error_message());
        else
            run_.done(begun_, answer_.ByteSizeLong());
        if (!run_.over)
            ask();
    }

private:
    void ask()
    {
        reader_.reset(); // lives in memory of the context's call
        context_ = std::make_unique<grpc::ClientContext>();
        begun_ = Clock::now();
        reader_ = stub_.AsyncListImages(context_.get(), {}, &queue_);
        reader_->Finish(&answer_, &status_, this);
    }

    Run &run_;
    ImageService::Stub &stub_;
    grpc::CompletionQueue &queue_;
    std::unique_ptr<grpc::ClientContext> context_;
    std::unique_ptr<grpc::ClientAsyncResponseReader<image_service::ListImagesResponse>> reader_;
    image_service::ListImagesResponse answer_;
    grpc::Status status_;
    Clock::time_point begun_;
};

class StreamCall final : public Call {
public:
    StreamCall(Run &run, ImageService::Stub &stub, grpc::CompletionQueue &queue)
        : run_(run), stub_(stub), queue_(queue)
    {
        ask();
    }

    void next(bool ok) override
    {
        if (state_ == State::finishing) {
            finished();
        } else if (state_ == State::reading && ok) {
            good_ = good_ && run_.right(answer_.image(), images_);
            images_++;
            bytes_ += answer_.image().content().size();
            reader_->Read(&answer_, this);
        } else if (state_ == State::starting && ok) {
            state_ = State::reading;
            reader_->Read(&answer_, this);
        } else {
            state_ = State::finishing;
            reader_->Finish(&status_, this);
        }
    }

private:
    enum class State { starting, reading, finishing };

    void ask()
    {
        reader_.reset(); // lives in memory of the context's call
        context_ = std::make_unique<grpc::ClientContext>();
        state_ = State::starting;
        good_ = true;
        images_ = 0;
        bytes_ = 0;
        begun_ = Clock::now();
        reader_ = stub_.AsyncStreamImages(context_.get(), run_.request, &queue_, this);
    }

    void finished()
    {
        if (!status_.ok())
            run_.fail("StreamImages: " + status_.error_message());
        else if (!good_ || images_ != run_.options.images_per_op)
            run_.fail("StreamImages: an image is wrong, or missing");
        else
            run_.done(begun_, bytes_);
        if (!run_.over)
            ask();
    }

    Run &run_;
    ImageService::Stub &stub_;
    grpc::CompletionQueue &queue_;
    std::unique_ptr<grpc::ClientContext> context_;
    std::unique_ptr<grpc::ClientAsyncReader<image_service::StreamImagesResponse>> reader_;
    image_service::StreamImagesResponse answer_;
    grpc::Status status_;
    State state_ = State::starting;
    bool good_ = true;
    unsigned images_ = 0;
    unsigned long long bytes_ = 0;
    Clock::time_point begun_;
};

[[noreturn]] void usage()
{
    std::fprintf(stderr,
                 "usage: grpc_cpp_client ADDRESS [--connections N] [--streams N] "
                 "[--images-per-op N] [--list]\n"
                 "                       [--seconds T] [--warmup T] [--ops N] [--images FOLDER]\n");
    std::exit(2);
}

Options parse(int argc, char **argv)
{
    Options options;

    for (int i = 1; i < argc; i++) {
        std::string word = argv[i];
        if (word == "--list") {
            options.list = true;
        } else if (word[0] != '-' && options.address.empty()) {
            options.address = word;
        } else if (word[0] == '-' && i + 1 < argc) {
            const char *value = argv[++i];
            if (word == "--connections")
                options.connections = static_cast<unsigned>(std::atoi(value));
            else if (word == "--streams")
                options.streams = static_cast<unsigned>(std::atoi(value));
            else if (word == "--images-per-op")
                options.images_per_op = static_cast<unsigned>(std::atoi(value));
            else if (word == "--ops")
                options.ops = std::strtoul(value, nullptr, 10);
            else if (word == "--seconds")
                options.seconds = std::atof(value);
            else if (word == "--warmup")
                options.warmup = std::atof(value);
            else if (word == "--images")
                options.images = value;
            else
                usage();
        } else {
            usage();
        }
    }
    if (options.address.empty())
        usage();
    return options;
}

std::vector<std::unique_ptr<ImageService::Stub>> connect(const Options &options)
{
    std::vector<std::unique_ptr<ImageService::Stub>> stubs;
    grpc::ChannelArguments arguments;

    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1); // or all would share a connection
    for (unsigned i = 0; i < options.connections; i++)
        stubs.push_back(ImageService::NewStub(grpc::CreateCustomChannel(
            options.address, grpc::InsecureChannelCredentials(), arguments)));
    return stubs;
}

// What the server has, on every connection, so that all are open.
bool learn(Run &run, std::vector<std::unique_ptr<ImageService::Stub>> &stubs)
{
    image_service::ListImagesResponse list;

    for (auto &stub : stubs) {
        grpc::ClientContext context;
        context.set_wait_for_ready(true);
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
        grpc::Status status = stub->ListImages(&context, {}, &list);
        if (!status.ok() || list.image_names().empty()) {
            std::fprintf(stderr, "ListImages: %d %s\n", status.error_code(),
                         status.error_message().c_str());
            return false;
        }
    }
    run.names.assign(list.image_names().begin(), list.image_names().end());
    for (unsigned i = 0; i < run.options.images_per_op; i++)
        run.request.add_image_names(run.names[i % run.names.size()]);
    for (const std::string &name : run.names) {
        if (run.options.images.empty())
            break;
        std::ifstream file(std::filesystem::path(run.options.images) / name, std::ios::binary);
        run.contents[name].assign((std::istreambuf_iterator<char>(file)), {});
    }
    return true;
}

void print(Run &run, double seconds)
{
    std::vector<double> &sorted = run.latencies_ns;

    std::sort(sorted.begin(), sorted.end());
    auto at = [&](double part) {
        return sorted.empty() ? 0 : sorted[static_cast<size_t>(part * (sorted.size() - 1))];
    };
    std::printf("{\"ops\":%lu,\"seconds\":%.6f,\"ops_per_s\":%.1f,\"bytes_per_s\":%.0f,"
                "\"latency_ns\":{\"p50\":%.0f,\"p99\":%.0f},\"errors\":%lu}\n",
                run.ops, seconds, run.ops / seconds, run.bytes / seconds, at(0.5), at(0.99),
                run.errors);
    if (run.errors > 0)
        std::fprintf(stderr, "%lu RPCs failed, the first: %s\n", run.errors,
                     run.first_error.c_str());
}

} // namespace

int main(int argc, char **argv)
{
    Run run;
    run.options = parse(argc, argv);
    auto stubs = connect(run.options);
    if (!learn(run, stubs))
        return 1;

    grpc::CompletionQueue queue;
    std::vector<std::unique_ptr<Call>> calls;
    Clock::time_point now = Clock::now();
    auto span = [](double s) {
        return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
    };
    run.begin = run.options.ops > 0 ? now : now + span(run.options.warmup);
    run.end = run.begin + span(run.options.seconds);
    for (auto &stub : stubs)
        for (unsigned i = 0; i < run.options.streams; i++) {
            if (run.options.list)
                calls.push_back(std::make_unique<ListCall>(run, *stub, queue));
            else
                calls.push_back(std::make_unique<StreamCall>(run, *stub, queue));
        }
    void *tag;
    bool ok;
    Clock::time_point give_up = run.end + std::chrono::seconds(30);
    while (!run.over) {
        auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(10);
        if (queue.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT ||
            Clock::now() > give_up || run.errors > 1000) {
            run.fail("no end within 10 seconds");
            break;
        }
        static_cast<Call *>(tag)->next(ok);
    }
    double seconds = run.options.ops > 0
                         ? std::chrono::duration<double>(Clock::now() - run.begin).count()
                         : run.options.seconds;
    print(run, seconds);
    std::fflush(stdout);
    // What is under way would have to be cancelled and waited for; the process ends instead.
    std::_Exit(run.errors > 0 ? 1 : 0);
}
