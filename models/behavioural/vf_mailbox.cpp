#include "models/behavioural/vf_mailbox.h"

#include <algorithm>

#include "sriov_nic/mailbox_messages.h"
#include "sriov_nic/registers.h"

namespace models {

namespace nic = sriov_nic;
namespace bits = sriov_nic::mailbox;
namespace vf_reg = sriov_nic::vf_reg;
namespace message = sriov_nic::message;

namespace {

constexpr std::uint32_t most_mailbox_reads = 100'000;
constexpr std::size_t answer_words = 5;  // of the longest one

}  // namespace

std::vector<RegisterAccess> VfMailbox::start(std::uint64_t registers, std::uint32_t largest_frame,
                                             std::uint16_t queues) {
    state_ = {};
    state_.registers = registers;
    state_.largest_frame = largest_frame;
    state_.queues = queues;
    state_.version = static_cast<std::uint32_t>(nic::Api::v1_4);
    state_.step = Step::resetting;
    return {write(vf_reg::ctrl, nic::ctrl::reset), read(vf_reg::status), read(vf_reg::mailbox)};
}

std::vector<RegisterAccess> VfMailbox::fail() {
    state_.failed = true;
    state_.step = Step::done;
    return {};
}

std::vector<RegisterAccess> VfMailbox::next(std::span<const std::uint64_t> answers) {
    if (state_.step == Step::done || answers.empty() || ++state_.tries > most_mailbox_reads) return fail();
    const auto last = static_cast<std::uint32_t>(answers.back());
    if (last == ~std::uint32_t{0}) return fail();  // the function is not there any more
    switch (state_.step) {
        case Step::resetting:
            if ((last & (bits::reset_indication | bits::reset_done)) != 0) return {read(vf_reg::mailbox)};
            return say(Message::reset);
        case Step::taking: {
            state_.bits |= last;
            if ((last & bits::vf_owns) == 0) return take();
            // What has been told so far was of the message before.
            state_.bits = 0;
            std::vector<RegisterAccess> list;
            const std::vector<std::uint32_t> all = words();
            for (std::uint32_t n = 0; n < all.size(); ++n) list.push_back(write(vf_reg::mbmem + 4 * n, all[n]));
            list.push_back(write(vf_reg::mailbox, bits::request));
            list.push_back(read(vf_reg::mailbox));
            state_.step = Step::waiting;
            return list;
        }
        case Step::waiting:
            state_.bits |= last;
            if ((state_.bits & bits::pf_acknowledge) == 0 || (state_.bits & bits::pf_status) == 0) {
                return {read(vf_reg::mailbox)};
            }
            state_.step = Step::taking_answer;
            return take();
        case Step::taking_answer: {
            if (answers.size() > 1) return answered(answers);
            if ((last & bits::vf_owns) == 0) return take();
            std::vector<RegisterAccess> list;
            for (std::uint32_t n = 0; n < answer_words; ++n) list.push_back(read(vf_reg::mbmem + 4 * n));
            list.push_back(write(vf_reg::mailbox, bits::acknowledge));
            return list;
        }
        case Step::done:
            break;
    }
    return {};
}

std::vector<RegisterAccess> VfMailbox::take() {
    return {write(vf_reg::mailbox, bits::vf_owns), read(vf_reg::mailbox)};
}

std::vector<RegisterAccess> VfMailbox::say(Message next) {
    state_.message = next;
    state_.step = Step::taking;
    return take();
}

std::vector<std::uint32_t> VfMailbox::words() const {
    switch (state_.message) {
        case Message::reset:
            return {message::reset};
        case Message::version:
            return {message::negotiate_api, state_.version, 0};
        case Message::queues:
            return {message::get_queues, 0, 0, 0, 0};
        case Message::largest_frame:
            return {message::set_max_frame, state_.largest_frame};
    }
    return {};
}

std::vector<RegisterAccess> VfMailbox::answered(std::span<const std::uint64_t> answers) {
    const auto word = [&](std::size_t n) { return static_cast<std::uint32_t>(answers[n]); };
    const bool granted = (word(0) & message::success) != 0;
    switch (state_.message) {
        case Message::reset:
            if (!granted) return fail();
            for (std::size_t n = 0; n < 6; ++n) {
                state_.address.bytes[n] = static_cast<std::uint8_t>(word(1 + n / 4) >> 8 * (n % 4));
            }
            return say(Message::version);
        case Message::version:
            if (granted) return say(Message::queues);
            if (state_.version == static_cast<std::uint32_t>(nic::Api::v1_0)) return fail();
            // In the order of their making: 1.4, 1.3, 1.2, 1.1, 1.0.
            state_.version = state_.version > static_cast<std::uint32_t>(nic::Api::v1_1) ? state_.version - 1 : 0;
            return say(Message::version);
        case Message::queues:
            // Transmit queues, receive queues, whether there is a VLAN, the default queue.
            state_.queues = granted ? static_cast<std::uint16_t>(
                                          std::clamp<std::uint32_t>(std::min(word(1), word(2)), 1, state_.queues))
                                    : std::uint16_t{1};
            return say(Message::largest_frame);
        case Message::largest_frame:
            if (!granted) return fail();
            state_.step = Step::done;
            return {};
    }
    return {};
}

}  // namespace models
