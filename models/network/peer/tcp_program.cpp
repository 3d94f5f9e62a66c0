// A connection whose bytes a model beside the host reads and writes.
#include "models/network/peer/tcp_connection.h"

namespace models {

std::uint64_t TcpConnection::read(TcpEnvironment& env, std::uint64_t most, std::vector<std::byte>& data) {
    if (!syn_seen_) return 0;
    const std::uint64_t before = application_.received();
    application_.grant(most);
    read_on(env);
    application_.grant(0);
    data = application_.collect();
    transmit(env);  // a FIN, if the other side has ended
    return application_.received() - before;
}

void TcpConnection::write(TcpEnvironment& env, std::span<const std::byte> data) {
    application_.write(data);
    transmit(env);
}

void TcpConnection::write_hollow(TcpEnvironment& env, std::uint64_t bytes) {
    application_.write_hollow(bytes);
    transmit(env);
}

void TcpConnection::close(TcpEnvironment& env) {
    application_.close();
    transmit(env);
}

}  // namespace models
