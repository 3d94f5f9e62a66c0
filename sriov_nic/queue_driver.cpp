#include "sriov_nic/queue_driver.h"

#include "sim/prefetch.h"
#include "sriov_nic/registers.h"

namespace sriov_nic {

namespace {

constexpr std::uint32_t queue_stride = 0x40;
constexpr std::uint32_t refill_batch = 16;

}  // namespace

void QueueDriver::write_rx(RxRegister r, std::uint32_t value) {
    registers_.write_register(vf_reg::rdbal + queue_stride * queue_ + static_cast<std::uint32_t>(r), value);
}

void QueueDriver::write_tx(TxRegister r, std::uint32_t value) {
    registers_.write_register(vf_reg::tdbal + queue_stride * queue_ + static_cast<std::uint32_t>(r), value);
}

void QueueDriver::open(std::uint32_t transmit_control, std::uint32_t receive_control, std::uint32_t throttle) {
    write_tx(TxRegister::txdctl, txdctl::software_flush);
    write_tx(TxRegister::tdbal, static_cast<std::uint32_t>(layout_.base));
    write_tx(TxRegister::tdbah, static_cast<std::uint32_t>(layout_.base >> 32));
    write_tx(TxRegister::tdlen, layout_.transmit_descriptors * descriptor_bytes);
    write_tx(TxRegister::tdwbal, 0);
    write_tx(TxRegister::tdwbah, 0);
    write_tx(TxRegister::tdh, 0);
    write_tx(TxRegister::tdt, 0);
    write_tx(TxRegister::txdctl, transmit_control | txdctl::enable);
    const std::uint64_t ring = layout_.base + receive_ring();
    write_rx(RxRegister::rxdctl, 0);
    write_rx(RxRegister::rdbal, static_cast<std::uint32_t>(ring));
    write_rx(RxRegister::rdbah, static_cast<std::uint32_t>(ring >> 32));
    write_rx(RxRegister::rdlen, layout_.receive_descriptors * descriptor_bytes);
    write_rx(RxRegister::rdh, 0);
    write_rx(RxRegister::rdt, 0);
    write_rx(RxRegister::srrctl,
             srrctl::drop_enable | srrctl::advanced_one << 25 | 4u << 8 | layout_.buffer_bytes >> 10);
    write_rx(RxRegister::rxdctl, receive_control | rxdctl::enable);
    for (std::uint32_t i = 0; i < layout_.receive_descriptors; ++i) post(i);
    next_ = clean_ = take_ = 0;
    refill();
    registers_.write_register(vf_reg::ivar + 4 * (queue_ >> 1), (ivar::valid | ivar::valid << 8) << 16 * (queue_ & 1));
    registers_.write_register(vf_reg::ivar_misc, ivar::valid | 1);
    registers_.write_register(vf_reg::eitr, throttle | eitr::counter_write_disable);
    registers_.read_register(vf_reg::eicr);
    registers_.write_register(vf_reg::eiam, 3);
    registers_.write_register(vf_reg::eiac, 3);
    registers_.write_register(vf_reg::eims, 3);
}

void QueueDriver::close() {
    write_rx(RxRegister::rxdctl, 0);
    registers_.write_register(vf_reg::eimc, 3);
    write_tx(TxRegister::txdctl, txdctl::software_flush);
}

bool QueueDriver::put_context(std::uint32_t macip, std::uint32_t mode, std::uint32_t mss) {
    if (in_ring() + 1 >= layout_.transmit_descriptors) return false;
    const std::uint64_t high = std::uint64_t{mss} << 32 | mode | tx::type_context | tx::extended;
    set_descriptor(std::uint64_t{next_} * descriptor_bytes, {macip, high});
    next_ = (next_ + 1) & (layout_.transmit_descriptors - 1);
    return true;
}

bool QueueDriver::put(std::span<const std::byte> bytes, std::uint32_t command, std::uint32_t options) {
    const std::uint64_t buffer = transmit_buffer(next_);
    if (!put_descriptor(bytes.size(), command, options)) return false;
    if (bytes.empty()) return true;
    std::memcpy(&memory_[buffer], bytes.data(), bytes.size());
    // Mostly one of about the same size follows: the simulating computer may fetch its buffer meanwhile.
    constexpr std::size_t line = 64;
    const std::byte* const next = &memory_[transmit_buffer(next_)];
    for (std::size_t at = 0; at < bytes.size(); at += line) sim::prefetch(next + at);
    return true;
}

bool QueueDriver::put_descriptor(std::size_t bytes, std::uint32_t command, std::uint32_t options) {
    if (in_ring() + 1 >= layout_.transmit_descriptors || bytes > layout_.buffer_bytes) return false;
    set_descriptor(std::uint64_t{next_} * descriptor_bytes,
                   {layout_.base + transmit_buffer(next_), std::uint64_t{options} << 32 | command});
    next_ = (next_ + 1) & (layout_.transmit_descriptors - 1);
    return true;
}

void QueueDriver::write_tail() {
    write_tx(TxRegister::tdt, next_);
}

// A write-back leaves nothing but "done" in a descriptor's upper half.
std::uint32_t QueueDriver::reclaim() {
    std::uint32_t frames = 0;
    std::uint32_t at = clean_;
    while (at != next_) {
        const Descriptor d = descriptor(std::uint64_t{at} * descriptor_bytes);
        const bool done = (d.high >> 32 & tx::done) != 0 && d.low == 0;
        if (!done && (d.high & tx::report_status) != 0) break;
        at = (at + 1) & (layout_.transmit_descriptors - 1);
        if (!done) continue;
        ++frames;
        clean_ = at;
    }
    return frames;
}

QueueDriver::Received QueueDriver::receive() {
    const Descriptor d = descriptor(receive_ring() + std::uint64_t{take_} * descriptor_bytes);
    if ((d.high & rx::done) == 0) return {};
    const auto bytes = static_cast<std::uint32_t>(d.high >> 32 & 0xffff);
    return {memory_.subspan(receive_buffer(take_), bytes), d};
}

// Descriptor i always has buffer i. The tail stays one behind the place that software looks at next.
void QueueDriver::release() {
    post(take_);
    take_ = (take_ + 1) & (layout_.receive_descriptors - 1);
    if (++unposted_ >= refill_batch) refill();
}

void QueueDriver::refill() {
    unposted_ = 0;
    write_rx(RxRegister::rdt, (take_ - 1) & (layout_.receive_descriptors - 1));
}

}  // namespace sriov_nic
