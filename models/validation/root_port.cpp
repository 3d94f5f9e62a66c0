#include "models/validation/root_port.h"

#include <utility>

#include "models/network/checksum.h"
#include "models/network/headers.h"
#include "models/network/toeplitz.h"

namespace models {

namespace {

constexpr std::uint16_t flow_types = rss_type::tcp_ipv4 | rss_type::ipv4;

constexpr std::size_t table_entries = 128;  // of a guest's indirection table, its channels in turn

}  // namespace

RootPort::RootPort(VirtualSwitch& network, Wire::End& end, std::vector<sim::Processor*> processors, unsigned queues)
    : network_(network),
      to_wire_(end),
      port_(network.connect("uplink", to_wire_, external_port())),
      processors_(std::move(processors)),
      wanted_(queues) {
    end.connect(static_cast<FrameReceiver&>(*this));
}

RootPort::~RootPort() {
    network_.disconnect(port_);
}

void RootPort::receive(Frame&& frame) {
    std::size_t channel = 0;
    bool stream = false;
    if (const auto headers = parse_headers(frame)) {
        stream = headers->is_tcp();
        if (const auto hash = rss_hash(microsoft_rss_key, flow_types, *headers)) {
            channel = hash->value % table_entries % processors_.size();
        }
    }
    if (queues_.empty()) {
        if (!stream && wanted_ == 1) {  // before there is any
            network_.send(port_, std::move(frame));
            return;
        }
        for (std::size_t n = 0; n < processors_.size(); ++n) {
            if (wanted_ == 1 && n != channel) continue;
            queues_.push_back(std::make_unique<Queue>(*this, *processors_[n]));
        }
    }
    queues_[channel % queues_.size()]->push(std::move(frame));
}

void RootPort::Queue::push(Frame&& frame) {
    if (waiting_.size() >= most_waiting) return;
    waiting_.push_back(std::move(frame));
    slot_.wake();
}

std::optional<sim::Time> RootPort::Queue::begin() {
    cost_ = working_ ? sim::Time::zero() : per_interrupt;
    for (; !waiting_.empty() && batch_.size() < most_in_batch; waiting_.pop_front()) {
        Frame frame{std::move(waiting_.front().bytes)};
        verify_checksums(frame);
        cost_ += port_.network_.cost(frame);
        batch_.push_back(std::move(frame));
    }
    working_ = !batch_.empty();
    if (!working_) return std::nullopt;
    return cost_;
}

void RootPort::Queue::finish() {
    port_.network_.begin_batch();
    for (Frame& frame : std::exchange(batch_, {})) port_.network_.send(port_.port_, std::move(frame));
    port_.network_.end_batch();
}

}  // namespace models
