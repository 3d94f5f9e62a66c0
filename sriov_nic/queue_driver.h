// A behavioural driver of one queue pair of a virtual function, with what ixgbevf writes when it opens and with its
// ring handling. It knows nothing of time: whoever calls it charges its work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "sriov_nic/descriptors.h"
#include "sriov_nic/physical_driver.h"

namespace sriov_nic {

struct QueueDriverLayout {
    std::uint64_t base = 0;  // where the driver's memory is, as the device sees it
    std::uint32_t transmit_descriptors = 512;
    std::uint32_t receive_descriptors = 512;
    std::uint32_t buffer_bytes = 2048;  // a multiple of 1024
    // Buffers begin at so many different lines of their pieces of memory. Where all begin at the same one, or at one
    // that follows from the piece's own place, the first lines of all meet in few sets of the computer's caches.
    std::uint32_t colours = 1;
    static constexpr std::uint32_t colour_bytes = 64;
    std::uint64_t bytes() const {
        return (std::uint64_t{transmit_descriptors} + receive_descriptors) * (descriptor_bytes + buffer_bytes) +
               (colours - 1) * std::uint64_t{colour_bytes};
    }
};

class QueueDriver final {
public:
    // `memory` is layout.bytes() long, the same that the device reaches at layout.base.
    QueueDriver(RegisterPort& registers, std::span<std::byte> memory, const QueueDriverLayout& layout, unsigned queue)
        : registers_(registers), memory_(memory), layout_(layout), queue_(queue) {}

    // Rings, buffers, both queues on; vector 0 for both, vector 1 for the mailbox; interrupts as given.
    void open(std::uint32_t transmit_control, std::uint32_t receive_control, std::uint32_t throttle);
    void close();

    // Puts a frame into the ring; false: full. notify() tells the device.
    bool send(std::span<const std::byte> frame) {
        return put(frame, data_command(frame.size()), frame_options(frame.size()));
    }
    bool put(std::span<const std::byte> bytes, std::uint32_t command, std::uint32_t options);
    // A frame of so many bytes as the ring's next buffer holds it already.
    bool send_again(std::uint32_t bytes) { return put_descriptor(bytes, data_command(bytes), frame_options(bytes)); }
    bool put_context(std::uint32_t macip, std::uint32_t mode, std::uint32_t mss);
    void notify() { write_tail(); }
    // Frames that the device reported as sent.
    std::uint32_t reclaim();
    std::uint32_t in_ring() const { return (next_ - clean_) & (layout_.transmit_descriptors - 1); }

    // The next frame that came; its bytes stay until release(). Empty if there is none.
    struct Received {
        std::span<const std::byte> bytes;
        Descriptor descriptor;
    };
    Received receive();
    // Gives the buffer back; the device is told every 16 frames, or by refill().
    void release();
    void refill();

    static constexpr std::uint32_t data_command(std::size_t bytes) {
        return static_cast<std::uint32_t>(bytes) | tx::type_data | tx::extended | tx::insert_fcs | tx::end_of_packet |
               tx::report_status;
    }
    static constexpr std::uint32_t frame_options(std::size_t bytes) { return static_cast<std::uint32_t>(bytes) << 14; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(next_, clean_, take_, unposted_);
    }

private:
    std::uint32_t colour(std::uint32_t i) const { return (i * 0x9e37'79b1u >> 16) % layout_.colours; }
    std::uint64_t receive_ring() const { return std::uint64_t{layout_.transmit_descriptors} * descriptor_bytes; }
    std::uint64_t transmit_buffer(std::uint32_t i) const {
        return receive_ring() + std::uint64_t{layout_.receive_descriptors} * descriptor_bytes +
               std::uint64_t{i} * layout_.buffer_bytes + colour(i) * layout_.colour_bytes;
    }
    std::uint64_t receive_buffer(std::uint32_t i) const { return transmit_buffer(layout_.transmit_descriptors + i); }
    void set_descriptor(std::uint64_t at, const Descriptor& d) { std::memcpy(&memory_[at], &d, sizeof d); }
    Descriptor descriptor(std::uint64_t at) const {
        Descriptor d;
        std::memcpy(&d, &memory_[at], sizeof d);
        return d;
    }
    void post(std::uint32_t i) {
        set_descriptor(receive_ring() + std::uint64_t{i} * descriptor_bytes, {layout_.base + receive_buffer(i), 0});
    }
    bool put_descriptor(std::size_t bytes, std::uint32_t command, std::uint32_t options);
    void write_tail();
    void write_rx(RxRegister r, std::uint32_t value);
    void write_tx(TxRegister r, std::uint32_t value);

    RegisterPort& registers_;
    std::span<std::byte> memory_;
    QueueDriverLayout layout_;
    unsigned queue_;
    std::uint32_t next_ = 0, clean_ = 0;  // of the transmit ring
    std::uint32_t take_ = 0;              // of the receive ring
    std::uint32_t unposted_ = 0;
};

}  // namespace sriov_nic
