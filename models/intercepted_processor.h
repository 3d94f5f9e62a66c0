// A child's virtual processor that stands in an intercept, as the root's stack reaches it: registers and memory by
// hypercalls, and the ways to let it go on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cpu/event_delivery.h"
#include "cpu/linear_memory.h"
#include "hypervisor/intercept_messages.h"
#include "hypervisor/root_client.h"

namespace models {

class InterceptedProcessor final : public cpu::LinearMemory {
public:
    using Assignment = std::pair<hypervisor::HvRegister, hypervisor::HvRegisterValue>;

    InterceptedProcessor(hypervisor::RootClient& client, hypervisor::PartitionId partition,
                         const hypervisor::HvX64InterceptMessageHeader& header)
        : client_(client), partition_(partition), header_(header) {}

    // What an emulator of one instruction looks at, read in one call.
    [[nodiscard]] cpu::Registers registers() const;

    // The address behind the intercepted instruction, wrapped as its code segment does.
    [[nodiscard]] std::uint64_t next_rip() const;
    [[nodiscard]] bool code_64bit() const;
    // Address and operand size of 16-bit code are 16 bits unless prefixes say otherwise.
    [[nodiscard]] bool code_16bit() const;

    // The instruction is done: registers, RIP behind it, and on it goes. All in one call.
    void complete(std::vector<Assignment> changes = {});
    // As complete(), with RIP as given.
    void complete_at(std::uint64_t rip, std::vector<Assignment> changes);
    // On it goes with what an emulator has made of the registers. `finished`: the instruction is over.
    void write_back(const cpu::Registers& r, bool finished);
    // On it goes with an exception at the intercepted instruction.
    void inject(const cpu::Event& event);

    // cpu::LinearMemory. Nested faults leave their address in fault_address().
    [[nodiscard]] cpu::LinearAccess read(std::uint64_t linear, std::span<std::byte> out,
                                         cpu::Privilege privilege) override;
    [[nodiscard]] cpu::LinearAccess write(std::uint64_t linear, std::span<const std::byte> data,
                                          cpu::Privilege privilege) override;
    // The guest-physical address behind a linear one, mapped or not; nothing if the guest's own tables refuse.
    [[nodiscard]] std::optional<std::uint64_t> physical(std::uint64_t linear, bool write, cpu::Privilege privilege);
    // The instruction's bytes, as far as they can be fetched. For an exit that could not deliver them.
    [[nodiscard]] std::vector<std::uint8_t> fetch(std::uint64_t linear);

private:
    enum class Access : std::uint8_t { read, write, fetch };
    struct Place {
        cpu::LinearAccess access;
        std::uint64_t gpa = 0;
        bool known = false;  // `gpa` is the address, though nothing may be mapped there
    };
    Place translate(std::uint64_t linear, Access access, cpu::Privilege privilege);
    template <class Copy>
    cpu::LinearAccess each_page(std::uint64_t linear, std::size_t length, Access access, cpu::Privilege privilege,
                                Copy copy);
    unsigned cpl() const { return header_.execution_state & 3u; }
    bool long_mode() const { return (header_.execution_state >> 4 & 1) != 0; }
    void finish_instruction(std::vector<Assignment>& changes);
    void set(std::vector<Assignment> changes);

    hypervisor::RootClient& client_;
    hypervisor::PartitionId partition_;
    hypervisor::HvX64InterceptMessageHeader header_;
};

}  // namespace models
