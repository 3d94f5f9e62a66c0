// Who answers a guest's I/O port or a guest-physical device address. What nobody claims reads all ones and ignores
// writes, as a bus without a target does; each unclaimed address is counted, up to a bound, so that a run can say at
// its end what the guest looked for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sim/scope.h"

namespace models {

class IoDevice {
public:
    // `size` is 1, 2 or 4 and never above the claim's widest access. Bits above the size are ignored.
    virtual std::uint32_t read_port(std::uint16_t port, unsigned size) = 0;
    virtual void write_port(std::uint16_t port, unsigned size, std::uint32_t value) = 0;

protected:
    ~IoDevice() = default;
};

class MmioDevice {
public:
    // `size` is 1, 2, 4 or 8.
    virtual std::uint64_t read_mmio(std::uint64_t gpa, unsigned size) = 0;
    virtual void write_mmio(std::uint64_t gpa, unsigned size, std::uint64_t value) = 0;

protected:
    ~MmioDevice() = default;
};

// How often addresses were touched that nobody claims. A hostile guest touches all of them: the list is bounded.
struct UnclaimedTouches {
    static constexpr std::size_t most_listed = 64;
    std::map<std::uint64_t, std::uint64_t> by_address;
    std::uint64_t elsewhere = 0;  // touches of addresses that came after the list was full

    void count(std::uint64_t address) {
        const auto place = by_address.find(address);
        if (place != by_address.end()) {
            ++place->second;
        } else if (by_address.size() < most_listed) {
            by_address[address] = 1;
        } else {
            ++elsewhere;
        }
    }
    bool operator==(const UnclaimedTouches&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(by_address, elsewhere);
    }
};

class IoPortMap final {
public:
    explicit IoPortMap(const sim::Scope& scope);

    // Claims ports [first, first + count). An access wider than `widest_bytes` is cut into bytes, as a bus does for an
    // 8-bit device; one that begins outside the claim is nobody's. Claims don't overlap.
    void claim(std::uint16_t first, unsigned count, unsigned widest_bytes, IoDevice& device);

    // Any port and any value of a guest; `size` is 1, 2 or 4.
    std::uint32_t read(std::uint16_t port, unsigned size);
    void write(std::uint16_t port, unsigned size, std::uint32_t value);

    // Calls function(first, last) for each claimed range, in order.
    template <class Function>
    void for_each_claim(Function function) const {
        for (const Claim& claim : claims_) function(claim.first, claim.end - 1);
    }

    const UnclaimedTouches& unclaimed() const { return state_; }
    void reset() { state_ = {}; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct Claim {
        std::uint32_t first;
        std::uint32_t end;
        unsigned widest_bytes;
        IoDevice* device;
    };
    const Claim* find(std::uint32_t port, unsigned size) const;
    void count_unclaimed(std::uint16_t port, unsigned size, bool write, std::uint32_t value);

    sim::Scope scope_;
    sim::Counter& unclaimed_count_;
    std::vector<Claim> claims_;  // by first port
    UnclaimedTouches state_;
};

class MmioMap final {
public:
    explicit MmioMap(const sim::Scope& scope);

    // Claims [gpa, gpa + size_bytes), not overlapping another claim.
    void claim(std::uint64_t gpa, std::uint64_t size_bytes, MmioDevice& device);
    // The same for an address that a guest has chosen: false if another claim is there, or it is beyond the space.
    [[nodiscard]] bool try_claim(std::uint64_t gpa, std::uint64_t size_bytes, MmioDevice& device);
    // The claim that begins there goes.
    void release(std::uint64_t gpa);
    // Whether any byte of the page at `gpa` is claimed: such a page is no RAM.
    bool claims_page(std::uint64_t gpa) const;

    // `size` is 1, 2, 4 or 8. An access that runs over the end of a claim is nobody's.
    std::uint64_t read(std::uint64_t gpa, unsigned size);
    void write(std::uint64_t gpa, unsigned size, std::uint64_t value);

    const UnclaimedTouches& unclaimed() const { return state_; }
    void reset() { state_ = {}; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct Claim {
        std::uint64_t first;
        std::uint64_t last;
        MmioDevice* device;
    };
    const Claim* find(std::uint64_t gpa, unsigned size) const;
    void count_unclaimed(std::uint64_t gpa, unsigned size, bool write, std::uint64_t value);

    sim::Scope scope_;
    sim::Counter& unclaimed_count_;
    std::vector<Claim> claims_;  // by address
    UnclaimedTouches state_;
};

}  // namespace models
