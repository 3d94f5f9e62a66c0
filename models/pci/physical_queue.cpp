#include "models/pci/physical_queue.h"

#include <algorithm>
#include <utility>

#include "models/network/checksum.h"
#include "models/network/segmentation.h"
#include "sim/check.h"
#include "sriov_nic/registers.h"

namespace models {

namespace nic = sriov_nic;

// Memory
// ----------------------------------------------------------------------------------------------------------------

bool RootDmaArea::read(std::uint64_t address, std::span<std::byte> out) {
    if (!inside(address, out.size())) return false;
    std::ranges::copy(std::span{bytes_}.subspan(address - base_, out.size()), out.begin());
    return true;
}

bool RootDmaArea::write(std::uint64_t address, std::span<const std::byte> data) {
    if (!inside(address, data.size())) return false;
    std::ranges::copy(data, bytes_.begin() + static_cast<std::ptrdiff_t>(address - base_));
    return true;
}

// Registers
// ----------------------------------------------------------------------------------------------------------------

std::optional<std::uint32_t> PhysicalQueueRegisters::place(std::uint32_t offset) const {
    constexpr std::uint32_t stride = 0x40, half = 64, high_receive = 0xd000, transmit = 0x6000;
    namespace vf = nic::vf_reg;
    if (offset >= vf::rdbal && offset < vf::rdbal + stride) {
        return (queue_ < half ? vf::rdbal + stride * queue_ : high_receive + stride * (queue_ - half)) + offset -
               vf::rdbal;
    }
    if (offset >= vf::tdbal && offset < vf::tdbal + stride) return transmit + stride * queue_ + offset - vf::tdbal;
    switch (offset) {
        case vf::eitr:
            return nic::reg::eitr + 4 * vector_;
        case vf::eims:
            return nic::reg::eims;
        case vf::eimc:
            return nic::reg::eimc;
        case vf::eiac:
            return nic::reg::eiac;
        case vf::eiam:
            return nic::reg::eiam;
        default:
            return std::nullopt;
    }
}

std::uint32_t PhysicalQueueRegisters::read_register(std::uint32_t offset) {
    const auto at = place(offset);
    return at ? physical_.read_register(*at) : 0;
}

void PhysicalQueueRegisters::write_register(std::uint32_t offset, std::uint32_t value) {
    namespace vf = nic::vf_reg;
    if (offset == vf::ivar) {
        const std::uint32_t at = nic::reg::ivar + 4 * (queue_ / 2);
        const unsigned shift = 16 * (queue_ & 1);
        const std::uint32_t others = physical_.read_register(at) & ~(0xffffu << shift);
        return physical_.write_register(at, others | ((value & 0xffff) | vector_ | vector_ << 8) << shift);
    }
    const auto at = place(offset);
    if (!at) return;
    // Of the interrupt registers the queue's own bit alone.
    if (offset < vf::eims || offset > vf::eiam) return physical_.write_register(*at, value);
    const std::uint32_t own = (value & 1) << vector_;
    const bool kept = offset == vf::eiac || offset == vf::eiam;  // else ones act and zeros do nothing
    physical_.write_register(*at, kept ? (physical_.read_register(*at) & ~(1u << vector_)) | own : own);
}

// The queue
// ----------------------------------------------------------------------------------------------------------------

PhysicalQueue::PhysicalQueue(const sim::Scope& scope, nic::RegisterPort& registers, const Place& place,
                             std::span<sim::Processor* const> processors, const Costs& costs)
    : scope_(scope),
      place_(place),
      costs_(costs),
      layout_{.base = RootDmaAreas::first + place.number * RootDmaAreas::each},
      registers_(registers, place.queue, place.vector),
      area_(layout_.base, layout_.bytes()),
      driver_(registers_, area_.bytes(), layout_, 0),
      sent_(scope.counter("sent", "frames", "of the virtual switch, to the adapter")),
      received_(scope.counter("received", "frames", "of the adapter, to the virtual switch")),
      dropped_(scope.counter("dropped", "frames", "for which the transmit ring had no room, or that are too long")),
      registration_(scope.register_state(*this)) {
    VG_CHECK(!processors.empty() && layout_.bytes() <= RootDmaAreas::each);
    for (sim::Processor* processor : processors) {
        workers_.push_back(std::make_unique<Worker>(*this, static_cast<std::uint32_t>(workers_.size()), *processor));
    }
}

PhysicalQueue::~PhysicalQueue() = default;

void PhysicalQueue::connect(VirtualSwitch& network, PortId port) {
    network_ = &network;
    port_ = port;
}

void PhysicalQueue::receive(Frame&& frame) {
    (void)driver_.reclaim();
    std::vector<Frame> frames;
    finish_for_wire(std::move(frame), frames);
    for (Frame& one : frames) {
        if (one.size() < minimum_frame_bytes) one.bytes.resize(minimum_frame_bytes);
        ++(driver_.send(one.bytes) ? sent_ : dropped_);
    }
    driver_.notify();
}

void PhysicalQueue::interrupt() {
    called_at_ = scope_.now();
    wake();
}

void PhysicalQueue::move(std::uint32_t processor) {
    VG_CHECK(processor < workers_.size());
    processor_ = processor;
    wake();
}

std::optional<sim::Time> PhysicalQueue::begin(std::uint32_t on) {
    // Moved meanwhile; or begun elsewhere, and woken there again by its end.
    if (on != processor_ || !batch_.empty()) return std::nullopt;
    (void)driver_.reclaim();
    sim::Time cost = working_ ? sim::Time::zero() : costs_.per_interrupt;
    while (batch_.size() < most_in_batch) {
        const auto next = driver_.receive();
        if (next.bytes.empty()) break;
        Frame frame{std::vector<std::byte>(next.bytes.begin(), next.bytes.end())};
        driver_.release();
        verify_checksums(frame);
        if (network_ != nullptr) cost += network_->cost(frame);
        sim::Journeys& journeys = scope_.journeys();
        if (journeys.on()) {
            const sim::RequestId id = journeys.identify(frame.bytes);
            journeys.mark(id, "interrupt.delivery", called_at_);
            journeys.mark(id, "wait.processor", scope_.now());
        }
        batch_.push_back(std::move(frame));
    }
    if (!batch_.empty()) {
        working_ = true;
        cost_ = cost;
        work_ += cost;
        begun_on_ = on;
        return cost;
    }
    // The vector masks itself when it fires; what came since then fires it again.
    working_ = false;
    registers_.write_register(nic::vf_reg::eims, 1);
    return std::nullopt;
}

void PhysicalQueue::finish() {
    std::vector<Frame> batch = std::exchange(batch_, {});
    received_.add(batch.size());
    if (begun_on_ != processor_) wake();
    if (network_ == nullptr) return;
    sim::Journeys& journeys = scope_.journeys();
    for (std::size_t n = 0; journeys.on() && n < batch.size(); ++n) {
        journeys.mark_frame(batch[n].bytes, "switch", scope_.now());
    }
    network_->begin_batch();
    for (Frame& frame : batch) network_->send(port_, std::move(frame));
    network_->end_batch();
}

}  // namespace models
