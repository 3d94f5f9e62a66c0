// What a virtual function's driver says through the mailbox while it opens: reset, version of the protocol, queues,
// largest frame; each message is put there, acknowledged, answered, and the answer is acknowledged (Linux' ixgbevf,
// mbx.c and vf.c). It only says which registers to access next, and looks at what was read.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/behavioural/register_sequence.h"
#include "vmbus/network/network_port.h"

namespace models {

class VfMailbox final {
public:
    // A conversation from the beginning. The first accesses.
    std::vector<RegisterAccess> start(std::uint64_t registers, std::uint32_t largest_frame, std::uint16_t queues);
    // The next ones; none: it has come to its end, failed() tells which.
    std::vector<RegisterAccess> next(std::span<const std::uint64_t> answers);
    bool failed() const { return state_.failed; }
    const vmbus::NetworkAddress& address() const { return state_.address; }
    std::uint16_t queues() const { return state_.queues; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    // Each message goes through the later ones.
    enum class Step : std::uint8_t { resetting, taking, waiting, taking_answer, done };
    enum class Message : std::uint8_t { reset, version, queues, largest_frame };
    struct State {
        std::uint64_t registers = 0;
        std::uint32_t largest_frame = 0;
        std::uint16_t queues = 1;
        Step step = Step::done;
        Message message = Message::reset;
        std::uint32_t bits = 0;  // of VFMAILBOX, which reading clears
        std::uint32_t version = 0;
        std::uint32_t tries = 0;
        bool failed = false;
        vmbus::NetworkAddress address;

        template <class Archive>
        void fields(Archive& archive) {
            archive(registers, largest_frame, queues, step, message, bits, version, tries, failed, address);
        }
    };

    RegisterAccess read(std::uint32_t offset) const { return {state_.registers + offset, 4, true, false, 0}; }
    RegisterAccess write(std::uint32_t offset, std::uint32_t value) const {
        return {state_.registers + offset, 4, false, false, value};
    }
    std::vector<std::uint32_t> words() const;
    std::vector<RegisterAccess> take();
    std::vector<RegisterAccess> wait();
    std::vector<RegisterAccess> say(Message message);
    std::vector<RegisterAccess> answered(std::span<const std::uint64_t> answers);
    std::vector<RegisterAccess> fail();

    State state_;
};

}  // namespace models
