// The servers on Boost.Asio: a context a worker, told that only one thread uses it; a read that
// grows its connection's buffer, a write at once, waiting only where the socket is full.
//
// asio [echo|broadcast] --listen ADDR:PORT [--workers N]
#include <sys/resource.h>

#include <boost/asio.hpp>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "frames.h"

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using reuse_port = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;

namespace {

// What a connection reads into at first; it doubles when a read fills it.
constexpr size_t buffer_bytes_first = 4 * 1024;

class connection;

struct server {
    asio::io_context context{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE};
    tcp::acceptor acceptor{context};
    std::set<std::shared_ptr<connection>> members;
    bool broadcast = false;
    bytes out{};

    void accept();
};

class connection : public std::enable_shared_from_this<connection> {
public:
    connection(tcp::socket socket, server &server)
        : socket_(std::move(socket)), server_(server), inbox_(buffer_bytes_first) {
        socket_.non_blocking(true);
    }
    ~connection() { std::free(kept_.at); }

    void read() {
        socket_.async_read_some(asio::buffer(inbox_),
                                [self = shared_from_this()](error_code error, size_t count) {
                                    if (error) self->end();
                                    else self->received(count);
                                });
    }

    void send(const char *at, size_t count) {
        if (ended_) return;
        size_t sent = 0;
        if (!writing_) {
            error_code error;
            sent = socket_.write_some(asio::buffer(at, count), error);
            if (error && error != asio::error::would_block) return end();
        }
        if (sent == count) return;
        waiting_.append(at + sent, count - sent);
        if (waiting_.size() > UNSENT_BYTES_MAX) return end();
        if (!writing_) write_rest();
    }

private:
    void received(size_t count) {
        if (frames_take(&kept_, inbox_.data(), count, &server_.out)) return end();
        if (count == inbox_.size() && count < RECV_BYTES) inbox_.resize(2 * count);
        const bytes &out = server_.out;
        if (out.length > 0 && server_.broadcast) {
            // A member that fails leaves, and must not be cut from under the loop.
            const std::vector<std::shared_ptr<connection>> all(server_.members.begin(),
                                                               server_.members.end());
            for (const auto &member : all) member->send(out.at, out.length);
        } else if (out.length > 0) {
            send(out.at, out.length);
        }
        if (ended_) return;
        // A peer that does not read is not read either.
        if (writing_ && !server_.broadcast) paused_ = true;
        else read();
    }

    void write_rest() {
        writing_ = true;
        on_way_.swap(waiting_);
        waiting_.clear();
        asio::async_write(socket_, asio::buffer(on_way_),
                          [self = shared_from_this()](error_code error, size_t) {
                              if (error) self->end();
                              else self->written();
                          });
    }

    void written() {
        writing_ = false;
        if (!waiting_.empty()) return write_rest();
        if (paused_ && !ended_) {
            paused_ = false;
            read();
        }
    }

    void end() {
        if (ended_) return;
        ended_ = true;
        server_.members.erase(shared_from_this());
        error_code ignored;
        socket_.close(ignored);
    }

    tcp::socket socket_;
    server &server_;
    std::vector<char> inbox_;
    bytes kept_{};
    std::string waiting_, on_way_;
    bool writing_ = false, paused_ = false, ended_ = false;
};

void server::accept() {
    acceptor.async_accept([this](error_code error, tcp::socket socket) {
        if (!error) {
            auto fresh = std::make_shared<connection>(std::move(socket), *this);
            if (broadcast) members.insert(fresh);
            fresh->read();
        }
        accept();
    });
}

int fail(const std::string &what) {
    std::fprintf(stderr, "peer_asio: %s\n", what.c_str());
    return 1;
}

}  // namespace

int main(int count, char **words) try {
    std::string listen = "127.0.0.1:0";
    bool broadcast = false;
    int workers = 1;
    for (int at = 1; at < count; at++) {
        const std::string word = words[at];
        if (word == "broadcast") broadcast = true;
        else if (word == "--listen" && at + 1 < count) listen = words[++at];
        else if (word == "--workers" && at + 1 < count) workers = std::stoi(words[++at]);
        else if (word != "echo") return fail(word + ": no such option");
    }
    if (workers < 1 || (broadcast && workers > 1)) return fail("--workers");
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    const size_t colon = listen.rfind(':');
    if (colon == std::string::npos) return fail("--listen " + listen);
    tcp::endpoint address(asio::ip::make_address(listen.substr(0, colon)),
                          static_cast<unsigned short>(std::stoi(listen.substr(colon + 1))));
    std::vector<std::unique_ptr<server>> servers;
    for (int n = 0; n < workers; n++) {
        auto one = std::make_unique<server>();
        one->broadcast = broadcast;
        one->acceptor.open(address.protocol());
        one->acceptor.set_option(tcp::acceptor::reuse_address(true));
        if (workers > 1) one->acceptor.set_option(reuse_port(true));
        // Inherited by what is accepted.
        one->acceptor.set_option(tcp::no_delay(true));
        one->acceptor.bind(address);
        one->acceptor.listen(4096);
        address = one->acceptor.local_endpoint();
        one->accept();
        servers.push_back(std::move(one));
    }
    std::printf("listening on %s:%d\n", listen.substr(0, colon).c_str(), address.port());
    std::fflush(stdout);
    std::vector<std::thread> threads;
    for (size_t n = 1; n < servers.size(); n++)
        threads.emplace_back([&one = *servers[n]] { one.context.run(); });
    servers[0]->context.run();
    return 0;
} catch (const std::exception &error) {
    return fail(error.what());
}
