// A partition's synthetic adapter and its virtual function as one: the guest is told of the function by serial number,
// moves its traffic there when its driver is up, and moves it back when the function is to go. The connection lives on
// whichever of the two there is.
//
// Arrival: association, then the function; the guest switches the data path when it likes. By policy the guest is asked
// to let go: it switches back, its driver ends, then the function returns and the association ends. By surprise the
// function is gone at once, and the host switches back by itself.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "models/pci/assigned_function.h"
#include "models/switch_adapter.h"
#include "models/synthetic_devices.h"

namespace models {

// What an adapter counts of a virtual function, for ever; bytes with their FCS.
struct FrameCounts {
    std::uint64_t received = 0, received_bytes = 0, sent = 0, sent_bytes = 0;

    FrameCounts& operator+=(const FrameCounts& o);
    friend FrameCounts operator-(const FrameCounts& a, const FrameCounts& b);
    friend bool operator==(const FrameCounts&, const FrameCounts&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(received, received_bytes, sent, sent_bytes);
    }
};

// The physical adapter behind the switch: it has a virtual function for this partition.
class VfSource {
public:
    // The function is on, and the address of the synthetic adapter is its own, too.
    virtual HostFunction start_vf() = 0;
    // Frames for the address go to the function, or to the switch.
    virtual void steer_to_vf(bool to_vf) = 0;
    // The function is off.
    virtual void stop_vf() = 0;
    virtual FrameCounts counts() const = 0;

protected:
    ~VfSource() = default;
};

class VfPairing final : private FunctionOwner, private DataPath {
public:
    enum class Step : std::uint8_t {
        associated,    // the guest has been told the serial number, or will be when it has a driver
        offered,       // the function is on its bus
        in_use,        // the guest decodes its BARs
        to_vf,         // the guest has moved its traffic there
        revocation,    // the host wants the function back
        to_synthetic,  // traffic is back
        returned,      // the partition has the function no more
        dissociated,   // the guest has been told so
    };
    struct Moment {
        Step step = Step::associated;
        sim::Time at;

        bool operator==(const Moment&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(step, at);
        }
    };
    static std::string_view name_of(Step step);

    VfPairing(const sim::Scope& scope, SyntheticNic& nic, AssignedFunction& function, VfSource& source,
              std::uint32_t serial);
    ~VfPairing();
    VfPairing(const VfPairing&) = delete;

    // Nothing if the partition has the function.
    void offer();
    void revoke();    // by policy
    void withdraw();  // by surprise

    bool given() const { return function_.given(); }
    bool traffic_on_vf() const { return state_.on_vf; }
    std::uint32_t serial() const { return serial_; }
    // All steps so far, up to a bound: the latest ones.
    const std::vector<Moment>& moments() const { return state_.moments; }

    // Of all stays, the present one included: what its counters show from now on.
    void update_statistics();

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    static constexpr std::size_t most_moments = 1024;

    // FunctionOwner
    void function_in_use(AssignedFunction& function) override;
    void function_returned(AssignedFunction& function) override;
    // DataPath
    void switched(bool to_vf) override;

    void note(Step step);

    struct State {
        bool on_vf = false;
        std::vector<Moment> moments;
        FrameCounts ended;  // of stays that have
        FrameCounts begin;  // of the present one

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(on_vf, moments, ended, begin);
        }
    };
    sim::Scope scope_;
    SyntheticNic& nic_;
    AssignedFunction& function_;
    VfSource& source_;
    std::uint32_t serial_;
    sim::Counter& received_;
    sim::Counter& received_bytes_;
    sim::Counter& sent_;
    sim::Counter& sent_bytes_;
    State state_;
    sim::StateRegistration registration_;
};

}  // namespace models
