// Fault recording registers of an IOMMU (VT-d 7.3, 11.4.14): a bounded list of what was blocked, and an overflow flag
// when one more came. Software is told once, when the first is recorded.
#pragma once

#include <cstdint>
#include <optional>

#include "pci/iommu_format.h"
#include "pci/requester_id.h"
#include "pci/ring_queue.h"

namespace pci {

struct IommuFault {
    FaultReason reason = FaultReason::none;
    RequesterId requester;
    std::uint64_t address = 0;  // of the page; of an interrupt its index in 63:48
    bool write = false;

    bool operator==(const IommuFault&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(reason, requester, address, write);
    }
};

class IommuFaults final {
public:
    explicit IommuFaults(std::size_t registers) : recorded_(registers), limit_(registers) {}

    // True: it is the first, software is to be told.
    bool record(const IommuFault& fault) {
        if (recorded_.size() == limit_) {
            overflow_ = true;
            return false;
        }
        const bool first = recorded_.empty();
        recorded_.push(fault);
        return first;
    }
    // The oldest, which software has then seen.
    std::optional<IommuFault> take() {
        if (recorded_.empty()) return std::nullopt;
        const IommuFault fault = recorded_.front();
        recorded_.pop();
        return fault;
    }
    std::size_t size() const { return recorded_.size(); }
    bool overflow() const { return overflow_; }
    void clear_overflow() { overflow_ = false; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(recorded_, overflow_);
    }

private:
    RingQueue<IommuFault> recorded_;
    std::size_t limit_;
    bool overflow_ = false;
};

}  // namespace pci
