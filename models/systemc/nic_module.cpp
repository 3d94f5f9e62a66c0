#include "models/systemc/nic_module.h"

#include <cstring>

#include "sim/bits.h"

namespace models::systemc {

namespace {

constexpr std::size_t most_frames = 4096;  // from the testbench at one time

// One access of a processor's: its size, or 0 with the error in the response.
unsigned access_size(tlm::tlm_generic_payload& transaction, unsigned most) {
    const unsigned size = transaction.get_data_length();
    if (transaction.get_byte_enable_ptr() != nullptr) {
        transaction.set_response_status(tlm::TLM_BYTE_ENABLE_ERROR_RESPONSE);
        return 0;
    }
    const bool power = size != 0 && size <= most && (size & (size - 1)) == 0;
    if (!power || transaction.get_streaming_width() < size || transaction.get_address() % size != 0) {
        transaction.set_response_status(tlm::TLM_BURST_ERROR_RESPONSE);
        return 0;
    }
    return size;
}

std::uint64_t value_of(const tlm::tlm_generic_payload& transaction, unsigned size) {
    std::uint64_t value = 0;
    std::memcpy(&value, transaction.get_data_ptr(), size);
    return value;
}

}  // namespace

NicModule::NicModule(const sc_core::sc_module_name& module_name, const NicConfig& config)
    : sc_module(module_name),
      memory("memory"),
      configuration("configuration"),
      sent("sent"),
      received("received"),
      simulation_(config.seed),
      config_(config),
      process_("agenda", simulation_.agenda()),
      dma_("dma", process_, config.link),
      bus_(*this, pci::Wiring::straight),
      adapter_(simulation_.scope("nic"), bus_.slot(0, 0), dma_, *this, config_.profile) {
    dma_.connect(adapter_);
    adapter_.controller().set_link(true);
    received.bind(*this);
    memory.register_b_transport(this, &NicModule::transport_memory);
    configuration.register_b_transport(this, &NicModule::transport_configuration);
    SC_HAS_PROCESS(NicModule);
    SC_METHOD(send_frames);
    sensitive << out_;
    dont_initialize();
    SC_METHOD(take_frames);
    sensitive << in_;
    dont_initialize();
}

NicModule::~NicModule() = default;

void NicModule::set_link(bool up) {
    process_.catch_up();
    adapter_.controller().set_link(up);
    process_.changed();
}

// Software's side
// ----------------------------------------------------------------------------------------------------------------

// An initiator that is ahead of SystemC's time waits until the adapter is there, too.
void NicModule::begin(sc_core::sc_time& delay) {
    if (delay != sc_core::SC_ZERO_TIME) wait(delay);
    delay = sc_core::SC_ZERO_TIME;
    process_.catch_up();
}

// A write is posted and costs the sender nothing but its bytes, a read goes there and back.
void NicModule::end(bool is_read, unsigned size, sc_core::sc_time& delay) {
    process_.changed();
    const auto bytes = [&](std::uint64_t n) {
        const std::uint64_t byte_time = pci::usable_rate(config_.link.rate).byte_time();
        return sc_core::sc_time::from_value((n * byte_time + 0x8000) >> 16);
    };
    delay += bytes(pci::request_overhead64 + (is_read ? 0 : size));
    if (is_read) delay += to_systemc(config_.link.flight * 2) + bytes(pci::completion_overhead + size);
}

void NicModule::transport_memory(tlm::tlm_generic_payload& transaction, sc_core::sc_time& delay) {
    const unsigned size = access_size(transaction, 8);
    if (size == 0) return;
    begin(delay);
    bool done = true;
    if (transaction.is_read()) {
        const auto answer = bus_.read(pci::Space::memory, transaction.get_address(), size);
        const std::uint64_t value = answer.value_or(~std::uint64_t{0});
        std::memcpy(transaction.get_data_ptr(), &value, size);
        done = answer.has_value();
    } else if (transaction.is_write()) {
        done = bus_.write(pci::Space::memory, transaction.get_address(), size, value_of(transaction, size));
    }
    transaction.set_response_status(done ? tlm::TLM_OK_RESPONSE : tlm::TLM_ADDRESS_ERROR_RESPONSE);
    end(transaction.is_read(), size, delay);
}

void NicModule::transport_configuration(tlm::tlm_generic_payload& transaction, sc_core::sc_time& delay) {
    const unsigned size = access_size(transaction, 4);
    if (size == 0) return;
    begin(delay);
    const sc_dt::uint64 address = transaction.get_address();
    const pci::RequesterId target{static_cast<std::uint16_t>(address >> 12)};
    const auto offset = static_cast<unsigned>(address & 0xfff);
    // Nobody there is no error: that is how software looks for functions.
    if (transaction.is_read()) {
        const std::uint32_t value = bus_.read_config(target, offset, size).value_or(~std::uint32_t{0});
        std::memcpy(transaction.get_data_ptr(), &value, size);
    } else if (transaction.is_write()) {
        (void)bus_.write_config(target, offset, size, static_cast<std::uint32_t>(value_of(transaction, size)));
    }
    const bool inside = address < (sc_dt::uint64{1} << 28);
    transaction.set_response_status(inside ? tlm::TLM_OK_RESPONSE : tlm::TLM_ADDRESS_ERROR_RESPONSE);
    end(transaction.is_read(), size, delay);
}

// The wire
// ----------------------------------------------------------------------------------------------------------------

void NicModule::transmit(std::span<const std::byte> frame, sim::Time start, sim::Time end) {
    outgoing_.push_back({{frame.begin(), frame.end()}, to_systemc(start), to_systemc(end)});
    out_.notify(sc_core::SC_ZERO_TIME);
}

void NicModule::send_frames() {
    while (!outgoing_.empty() && outgoing_.front().end <= sc_core::sc_time_stamp()) {
        const WireFrame frame = std::move(outgoing_.front());
        outgoing_.pop_front();
        sent.write(frame);
    }
    if (!outgoing_.empty()) next_trigger(outgoing_.front().end - sc_core::sc_time_stamp(), out_);
}

// From wherever the testbench calls, perhaps from what the adapter has just sent: taken in a process of our own.
void NicModule::write(const WireFrame& frame) {
    if (incoming_.size() < most_frames) incoming_.push_back(frame);
    in_.notify(sc_core::SC_ZERO_TIME);
}

void NicModule::take_frames() {
    process_.catch_up();
    for (const WireFrame& frame : incoming_) adapter_.controller().received(frame.bytes);
    incoming_.clear();
    process_.changed();
}

// The bus's other side
// ----------------------------------------------------------------------------------------------------------------

pci::DmaStatus NicModule::dma_read(pci::RequesterId, std::uint64_t, std::span<std::byte>) {
    return pci::DmaStatus::unsupported;
}

pci::DmaStatus NicModule::dma_write(pci::RequesterId, std::uint64_t, std::span<const std::byte>) {
    return pci::DmaStatus::unsupported;
}

}  // namespace models::systemc
