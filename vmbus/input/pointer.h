// The synthetic pointer ("mouse"): a HID device with five buttons, an absolute position and a wheel, over a message
// pipe.
#pragma once

#include <array>
#include <cstdint>
#include <deque>

#include "vmbus/inband/inband_port.h"
#include "vmbus/inband/message_table.h"

namespace vmbus {

namespace pointer {
inline constexpr std::uint32_t version_2_0 = 0x0002'0000;
// The header is type and size of the body (u32 each).
inline constexpr std::size_t header_bytes = 8;
inline constexpr std::uint32_t protocol_request = 0;   // version (u32)
inline constexpr std::uint32_t protocol_response = 1;  // version (u32), approved (u8)
inline constexpr std::uint32_t device_info = 2;        // attributes (32), HID descriptor (9), report descriptor
inline constexpr std::uint32_t device_info_ack = 3;    // one byte
inline constexpr std::uint32_t input_report = 4;
inline constexpr std::array messages{
    inband::MessageRow{protocol_request, "protocol request", inband::Direction::from_guest, 4},
    inband::MessageRow{protocol_response, "protocol response", inband::Direction::to_guest, 5},
    inband::MessageRow{device_info, "device information", inband::Direction::to_guest, 41},
    inband::MessageRow{device_info_ack, "device information seen", inband::Direction::from_guest, 1},
    inband::MessageRow{input_report, "input report", inband::Direction::to_guest, 7},
};

inline constexpr std::uint16_t vendor = 0x045e;
inline constexpr std::uint16_t product = 0x0621;
inline constexpr std::uint16_t largest_coordinate = 0x7fff;

// What a report holds (HID 1.11, 6.2.2): buttons (5 bits, 3 unused), x, y (16 bits each, absolute), wheel (16 bits,
// relative).
inline constexpr std::array<std::uint8_t, 67> report_descriptor{
    0x05, 0x01,              // usage page: generic desktop
    0x09, 0x02,              // usage: mouse
    0xa1, 0x01,              // collection: application
    0x09, 0x01,              //   usage: pointer
    0xa1, 0x00,              //   collection: physical
    0x05, 0x09,              //     usage page: buttons
    0x19, 0x01,              //     usage minimum 1
    0x29, 0x05,              //     usage maximum 5 (guests look at the byte at offset 14)
    0x15, 0x00, 0x25, 0x01,  //     0 to 1
    0x95, 0x05, 0x75, 0x01,  //     5 of 1 bit
    0x81, 0x02,              //     input: data, variable, absolute
    0x95, 0x01, 0x75, 0x03,  //     1 of 3 bits
    0x81, 0x01,              //     input: constant
    0x05, 0x01,              //     usage page: generic desktop
    0x09, 0x30, 0x09, 0x31,  //     usages: x, y
    0x15, 0x00,              //     0 to
    0x26, 0xff, 0x7f,        //       32767
    0x75, 0x10, 0x95, 0x02,  //     2 of 16 bits
    0x81, 0x02,              //     input: data, variable, absolute
    0x05, 0x01,              //     usage page: generic desktop
    0x09, 0x38,              //     usage: wheel
    0x16, 0x01, 0x80,        //     -32767 to
    0x26, 0xff, 0x7f,        //       32767
    0x75, 0x10, 0x95, 0x01,  //     1 of 16 bits
    0x81, 0x06,              //     input: data, variable, relative
    0xc0, 0xc0,
};
}  // namespace pointer

class Pointer final : private InbandDevice {
public:
    static constexpr Guid instance = guid("58f75a6d-d949-4320-99e1-a2a2576d581c");
    enum class Button : std::uint8_t { left, right, middle, fourth, fifth };

    struct Settings {
        sim::Time between_reports = sim::Time::ms(8);  // as a USB mouse at 125 Hz
    };

    Pointer(const sim::Scope& scope, const ServiceHost& host, const Settings& settings);

    // Reports wait until the guest's driver is there, and are gone if it goes.
    // Coordinates from 0 to 32767 across the screen, whatever its resolution; larger ones throw sim::UserError.
    void move(std::uint32_t x, std::uint32_t y);
    void press(Button button);
    void release(Button button);
    void click(Button button = Button::left);
    void scroll(std::int16_t steps);  // up is positive

    bool ready() const { return state_.phase == Phase::active; }
    std::size_t waiting() const { return state_.reports.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, pace_, port_);
    }

private:
    enum class Phase : std::uint8_t { closed, negotiating, described, active };
    struct Report {
        std::uint8_t buttons = 0;
        std::uint16_t x = 0;
        std::uint16_t y = 0;
        std::int16_t wheel = 0;

        bool operator==(const Report&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(buttons, x, y, wheel);
        }
    };
    struct State {
        Phase phase = Phase::closed;
        Report last;  // as it will be after all reports that wait
        std::deque<Report> reports;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(phase, last, reports);
        }
    };

    void opened() override { state_.phase = Phase::negotiating; }
    void closed() override;
    void received(std::span<const std::byte> packet, std::uint64_t transaction) override;
    void negotiate(std::uint32_t version, std::uint64_t transaction);
    void describe();
    void send(std::uint32_t type, std::span<const std::byte> body, std::uint64_t transaction);
    void add_report();
    void send_next();
    void start();

    Settings settings_;
    State state_;
    sim::Counter& reports_;
    sim::Timer pace_;
    InbandPort port_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
