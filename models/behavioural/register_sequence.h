// Accesses to a device's registers, one after the other, as a driver makes them from one of its guest's processors:
// what is read comes back together when the last one is done.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "models/behavioural/guest_platform.h"

namespace models {

struct RegisterAccess {
    std::uint64_t address = 0;
    std::uint8_t bytes = 4;
    bool read = false;
    bool port = false;
    std::uint64_t value = 0;  // to write

    template <class Archive>
    void fields(Archive& archive) {
        archive(address, bytes, read, port, value);
    }
};

class RegisterSequence final : private Continuation {
public:
    class Owner {
    public:
        // All are done: writes are on their way, what was read is there.
        virtual void accessed(std::span<const std::uint64_t> answers) = 0;

    protected:
        ~Owner() = default;
    };

    RegisterSequence(GuestPlatform& platform, unsigned vp, Owner& owner)
        : platform_(platform), vp_(vp), owner_(owner), id_(platform.attach(*this)) {}
    ~RegisterSequence() { platform_.detach(id_); }
    RegisterSequence(const RegisterSequence&) = delete;

    // From where a guest may do so (GuestPlatform); not while one is under way.
    void start(std::vector<RegisterAccess> list) {
        state_.list = std::move(list);
        state_.answers.clear();
        state_.at = 0;
        ++state_.turn;
        go_on();
    }
    // Its device is gone: what was read last comes to nobody.
    void stop() {
        state_.list.clear();
        state_.at = 0;
        ++state_.turn;
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct State {
        std::vector<RegisterAccess> list;
        std::vector<std::uint64_t> answers;
        std::uint32_t at = 0;
        std::uint32_t turn = 0;

        template <class Archive>
        void fields(Archive& archive) {
            archive(list, answers, at, turn);
        }
    };

    void resume(std::uint32_t step, std::uint64_t value) override {
        if (step != state_.turn || state_.at >= state_.list.size()) return;
        state_.answers.push_back(value);
        ++state_.at;
        go_on();
    }
    void go_on() {
        for (; state_.at < state_.list.size(); ++state_.at) {
            const RegisterAccess& next = state_.list[state_.at];
            if (next.read) {
                if (next.port) {
                    return platform_.read_port(vp_, static_cast<std::uint16_t>(next.address), next.bytes, id_,
                                               state_.turn);
                }
                return platform_.read_register(vp_, next.address, next.bytes, id_, state_.turn);
            }
            if (next.port) {
                platform_.write_port(vp_, static_cast<std::uint16_t>(next.address), next.bytes,
                                     static_cast<std::uint32_t>(next.value));
            } else {
                platform_.write_register(vp_, next.address, next.bytes, next.value);
            }
        }
        const std::vector<std::uint64_t> answers = std::exchange(state_.answers, {});
        state_.list.clear();
        state_.at = 0;
        owner_.accessed(answers);
    }

    GuestPlatform& platform_;
    unsigned vp_;
    Owner& owner_;
    ContinuationId id_;
    State state_;
};

}  // namespace models
