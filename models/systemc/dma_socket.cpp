#include "models/systemc/dma_socket.h"

#include <algorithm>
#include <utility>

#include "sim/check.h"

namespace models::systemc {

namespace {

pci::DmaStatus status_of(tlm::tlm_response_status response) {
    if (response == tlm::TLM_OK_RESPONSE) return pci::DmaStatus::ok;
    return response == tlm::TLM_ADDRESS_ERROR_RESPONSE ? pci::DmaStatus::unsupported : pci::DmaStatus::aborted;
}

std::uint64_t packets(std::uint64_t bytes, std::uint32_t most) {
    return (bytes + most - 1) / most;
}

}  // namespace

tlm::tlm_extension_base* Requester::clone() const {
    auto* copy = new Requester;  // the payload that it goes into owns it
    copy->id = id;
    return copy;
}

DmaSocket::DmaSocket(const sc_core::sc_module_name& module_name, AgendaProcess& process, const DmaSocketConfig& config)
    : sc_module(module_name),
      socket("socket"),
      process_(process),
      config_(config),
      byte_time_(pci::usable_rate(config.rate).byte_time()),
      clock_(process.agenda(), std::string{module_name} + ".clock", [this] { client_->woken(); }) {
    SC_HAS_PROCESS(DmaSocket);
    SC_THREAD(deliver);
    SC_METHOD(answer);
    sensitive << answered_;
    dont_initialize();
}

// The device's side
// ----------------------------------------------------------------------------------------------------------------

sc_core::sc_time DmaSocket::bytes_time(std::uint64_t bytes) const {
    return sc_core::sc_time::from_value((bytes * byte_time_ + 0x8000) >> 16);
}

// When so many bytes, sent now, have reached the other end.
sc_core::sc_time DmaSocket::send_up(std::uint64_t bytes) {
    up_free_ = std::max(up_free_, sc_core::sc_time_stamp()) + bytes_time(bytes);
    return up_free_ + to_systemc(config_.flight);
}

bool DmaSocket::read(pci::BusMaster& function, std::uint64_t address, std::uint32_t size, std::uint32_t cookie) {
    VG_CHECK(size >= 1 && size <= max_bytes);
    if (reads_ == config_.tags) {
        starved_ = true;
        return false;
    }
    ++reads_;
    if (!function.enabled()) {
        refuse(function, cookie, true);
        return true;
    }
    const sc_core::sc_time at = send_up(packets(size, config_.limits.max_read_request) * pci::request_overhead64);
    requests_.push_back({true, false, function.id(), function.place(), address, cookie, at, {}});
    requests_.back().data.resize(size);
    requested_.notify(sc_core::SC_ZERO_TIME);
    return true;
}

bool DmaSocket::write(pci::BusMaster& function, std::uint64_t address, std::span<const std::byte> data,
                      std::uint32_t cookie, bool notify) {
    VG_CHECK(!data.empty() && data.size() <= max_bytes);
    if (writes_ >= config_.posted) {
        starved_ = true;
        return false;
    }
    if (!function.enabled()) {
        if (notify) refuse(function, cookie, false);
        return true;
    }
    post(function, address, data);
    if (notify) {
        answers_.emplace(up_free_, Answer{false, function.place(), cookie, pci::DmaStatus::ok, {}});
        answered_.notify(sc_core::SC_ZERO_TIME);
    }
    return true;
}

void DmaSocket::message(pci::BusMaster& function, std::uint64_t address, std::uint32_t data) {
    if (!function.enabled()) return;
    const auto same = [&](const Request& r) {
        return !r.is_read && !r.dropped && r.place == function.place() && r.address == address &&
               std::ranges::equal(r.data, std::as_bytes(std::span{&data, 1}));
    };
    if (writes_ >= 2 * config_.posted && std::ranges::any_of(requests_, same)) return;
    post(function, address, std::as_bytes(std::span{&data, 1}));
}

void DmaSocket::post(pci::BusMaster& function, std::uint64_t address, std::span<const std::byte> data) {
    const std::uint64_t headers = packets(data.size(), config_.limits.max_payload) * pci::request_overhead64;
    const sc_core::sc_time at = send_up(data.size() + headers);
    ++writes_;
    requests_.push_back({false, false, function.id(), function.place(), address, 0, at,
                         std::vector<std::byte>{data.begin(), data.end()}});
    requested_.notify(sc_core::SC_ZERO_TIME);
}

void DmaSocket::refuse(pci::BusMaster& function, std::uint32_t cookie, bool is_read) {
    answers_.emplace(sc_core::sc_time_stamp(), Answer{is_read, function.place(), cookie, pci::DmaStatus::not_sent, {}});
    answered_.notify(sc_core::SC_ZERO_TIME);
}

void DmaSocket::forget(pci::BusMaster& function) {
    for (Request& request : requests_) {
        if (request.place == function.place()) request.dropped = true;
    }
    std::erase_if(answers_, [&](const auto& entry) {
        const bool its = entry.second.place == function.place();
        if (its && entry.second.is_read) --reads_;
        return its;
    });
}

// The host's side
// ----------------------------------------------------------------------------------------------------------------

void DmaSocket::deliver() {
    for (;;) {
        while (requests_.empty()) wait(requested_);
        const sc_core::sc_time at = requests_.front().arrives;
        if (at > sc_core::sc_time_stamp()) wait(at - sc_core::sc_time_stamp());
        // It stays in the queue meanwhile, where forget() finds it; others are added behind it only.
        Request& request = requests_.front();
        if (!request.dropped) carry_out(request);
        if (request.is_read && request.dropped) --reads_;
        if (!request.is_read) --writes_;
        requests_.pop_front();
        if (starved_) answered_.notify(sc_core::SC_ZERO_TIME);
    }
}

void DmaSocket::carry_out(Request& request) {
    tlm::tlm_generic_payload transaction;
    Requester requester;
    requester.id = request.id;
    transaction.set_extension(&requester);
    transaction.set_command(request.is_read ? tlm::TLM_READ_COMMAND : tlm::TLM_WRITE_COMMAND);
    transaction.set_address(request.address);
    transaction.set_data_ptr(reinterpret_cast<unsigned char*>(request.data.data()));
    transaction.set_data_length(static_cast<unsigned>(request.data.size()));
    transaction.set_streaming_width(transaction.get_data_length());
    sc_core::sc_time delay = sc_core::SC_ZERO_TIME;
    socket->b_transport(transaction, delay);
    transaction.clear_extension(&requester);
    if (!request.is_read || request.dropped) return;
    Answer answer{true, request.place, request.cookie, status_of(transaction.get_response_status()), {}};
    if (answer.status == pci::DmaStatus::ok) answer.data = std::move(request.data);
    const std::uint64_t bytes =
        answer.data.size() + std::max<std::uint64_t>(1, packets(answer.data.size(), config_.limits.completion_bytes)) *
                                 pci::completion_overhead;
    down_free_ = std::max(down_free_, sc_core::sc_time_stamp() + delay) + bytes_time(bytes);
    answers_.emplace(down_free_ + to_systemc(config_.flight), std::move(answer));
    answered_.notify(sc_core::SC_ZERO_TIME);
}

void DmaSocket::answer() {
    process_.catch_up();
    while (!answers_.empty() && answers_.begin()->first <= sc_core::sc_time_stamp()) {
        const Answer one = std::move(answers_.extract(answers_.begin()).mapped());
        if (one.is_read) {
            --reads_;
            client_->read_done(one.cookie, one.status, one.data);
        } else {
            client_->write_sent(one.cookie, one.status);
        }
    }
    if (std::exchange(starved_, false)) client_->link_ready();
    process_.changed();
    if (!answers_.empty()) next_trigger(answers_.begin()->first - sc_core::sc_time_stamp(), answered_);
}

}  // namespace models::systemc
