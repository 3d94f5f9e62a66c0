// A synthetic adapter and its virtual function as one adapter, as Linux' hv_netvsc makes them: the host announces the
// function by its serial number; when its driver is up, the host is asked to move the traffic there, and frames go that
// way. When the host wants the function back, traffic returns first; when the function is suddenly gone, frames go by
// the synthetic adapter at once. What comes is taken from both.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "models/behavioural/synthetic_driver.h"
#include "models/behavioural/vf_driver.h"

namespace models {

class FailoverDriver final : public NetworkDriver, private VfNotices, private VfDriver::Removal {
public:
    FailoverDriver(const sim::Scope& scope, GuestPlatform& platform, NetworkDriverUser& user,
                   const SyntheticDriver::Config& synthetic, const VfDriver::Config& vf);
    FailoverDriver(const FailoverDriver&) = delete;

    bool on_vf() const { return state_.on_vf; }
    // How often the traffic has moved, either way.
    std::uint64_t switches() const { return state_.switches; }
    SyntheticDriver& synthetic() { return synthetic_; }
    VfDriver& vf() { return vf_; }

    // NetworkDriver
    [[nodiscard]] bool transmit(vmbus::OutgoingFrame&& frame) override;
    bool is_up() const override { return synthetic_.is_up(); }
    std::uint16_t queues() const override { return current().queues(); }
    unsigned processor_of(std::uint16_t queue) const override { return current().processor_of(queue); }
    const vmbus::NetworkAddress& address() const override { return synthetic_.address(); }
    std::uint32_t mtu() const override { return synthetic_.mtu(); }
    const vmbus::OffloadSettings& offloads() const override { return current().offloads(); }
    std::string_view path() const override { return current().path(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    // Either adapter's stack is this.
    struct Side final : NetworkDriverUser {
        explicit Side(FailoverDriver& f) : failover(f) {}
        void ready() override { failover.side_ready(*this); }
        void down() override { failover.side_down(*this); }
        void receive(std::uint16_t queue, std::span<vmbus::IncomingFrame> frames) override {
            failover.user_.receive(queue, frames);
        }
        void room() override { failover.side_room(*this); }
        FailoverDriver& failover;
    };
    enum class Switching : std::uint8_t { none, to_vf, to_synthetic };
    struct State {
        bool announced = false;  // by the host, with this number
        std::uint32_t serial = 0;
        bool on_vf = false;
        bool leaving = false;  // the function's driver waits for let_go()
        bool refused = false;  // the stack waits for room()
        Switching switching = Switching::none;
        std::uint64_t switches = 0;

        template <class Archive>
        void fields(Archive& archive) {
            archive(announced, serial, on_vf, leaving, refused, switching, switches);
        }
    };

    // VfNotices
    void vf_changed(bool allocated, std::uint32_t serial) override;
    void data_path_switched() override;
    // VfDriver::Removal
    void leaving() override;

    void side_ready(const Side& side);
    void side_down(const Side& side);
    void side_room(const Side& side);
    const NetworkDriver& current() const { return state_.on_vf ? static_cast<const NetworkDriver&>(vf_) : synthetic_; }
    void switch_if_due();
    void use(bool vf);

    sim::Scope scope_;
    NetworkDriverUser& user_;
    State state_;
    Side synthetic_side_{*this};
    Side vf_side_{*this};
    SyntheticDriver synthetic_;
    VfDriver vf_;
    sim::StateRegistration registration_;
};

}  // namespace models
