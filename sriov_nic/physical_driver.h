// The host's driver of the physical function: it switches virtualization on, decides what each VF may, and answers the
// mailbox, as Linux's ixgbe does (ixgbe_sriov.c). It touches nothing but registers. VFs of the Hyper-V kind have no
// mailbox: what they would ask for is set from here.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sim/scope.h"
#include "sriov_nic/frame.h"
#include "sriov_nic/mailbox_messages.h"
#include "sriov_nic/ports.h"
#include "sriov_nic/registers.h"

namespace sriov_nic {

// BAR 0 of the physical function.
class RegisterPort {
public:
    virtual std::uint32_t read_register(std::uint32_t offset) = 0;
    virtual void write_register(std::uint32_t offset, std::uint32_t value) = 0;

protected:
    ~RegisterPort() = default;
};

enum class VfKind : std::uint8_t {
    mailbox,  // 10ED: its driver asks
    hyper_v,  // 152E: the host sets everything
};
enum class LinkState : std::uint8_t { automatic, enabled, disabled };
enum class Uplink : std::uint8_t {
    veb,   // frames between pools stay inside
    vepa,  // the switch beyond the wire returns them
};

struct VfPolicy {
    VfKind kind = VfKind::mailbox;
    MacKey mac = 0;          // 0: the VF chooses its own
    std::uint16_t vlan = 0;  // 0: the VF's own business
    std::uint8_t priority = 0;
    bool spoof_check = true;
    bool trusted = false;
    bool hash_query = false;  // the VF may read the redirection table and the hash key
    LinkState link = LinkState::automatic;
    std::uint32_t rate_mbps = 0;  // 0: as fast as it goes
    std::uint32_t share = 32;     // of the wire, beside the other pools', where PhysicalSettings::weighted is set
    bool operator==(const VfPolicy&) const = default;
    template <class Archive>
    void fields(Archive& a) {
        a(kind, mac, vlan, priority, spoof_check, trusted, hash_query, link, rate_mbps, share);
    }
};

struct PhysicalSettings {
    MacKey mac = 0;
    unsigned vfs = 0;
    unsigned queues_per_pool = 2;  // or 4, with 32 pools
    Uplink uplink = Uplink::veb;
    std::uint32_t max_frame = 1518;
    bool flow_control = true;
    bool promiscuous = false;  // unknown addresses reach the physical function
    Api newest_api = Api::v1_5;
    bool weighted = false;     // pools share the wire by bytes and their shares, else frame by frame
    bool default_pool = true;  // frames for nobody go to the physical function
};

class PhysicalDriver final {
public:
    PhysicalDriver(const sim::Scope& scope, RegisterPort& registers);
    PhysicalDriver(const PhysicalDriver&) = delete;

    // Resets the function and brings it up, VFs' pools included. The VFs themselves are made by SR-IOV's registers.
    void start(const PhysicalSettings& settings);
    bool started() const { return state_.started; }
    // What the administrator decides; takes effect at once where the hardware can.
    void set_policy(unsigned vf, const VfPolicy& policy);
    const VfPolicy& policy(unsigned vf) const { return state_.vfs[vf].policy; }
    // A Hyper-V VF starts, or its guest's driver starts anew: on with its defaults, off on removal.
    void enable_hyper_v(unsigned vf);
    void disable(unsigned vf);

    // An address behind the physical function itself, such as a synthetic adapter's: VFs reach it, too.
    void add_host_address(MacKey mac) { (void)add_mac(mac, physical_pool(), Rar::Use::host); }
    void remove_host_address(MacKey mac) { delete_mac(mac, physical_pool(), Rar::Use::host); }
    // A pool of the physical function's own beside its first (VMDq): frames for these addresses come to its queues, by
    // the hash to so many of them. Frames for all go to the first pool alone.
    void open_pool(unsigned pool, unsigned hashed);
    [[nodiscard]] bool add_host_address(MacKey mac, unsigned pool) { return add_mac(mac, pool, Rar::Use::host); }
    void remove_host_address(MacKey mac, unsigned pool) { delete_mac(mac, pool, Rar::Use::host); }
    unsigned pools() const { return state_.queues_per_pool == 4 ? max_pools / 2 : max_pools; }

    // The "other causes" vector fired: resets, messages, acknowledgements, link.
    void interrupt();
    // Tells all VFs to look at link and mailbox.
    void ping(unsigned vf);
    void ping_all();
    // The adapter was told, or not told, a multicast group of the host's own.
    void set_promiscuous(bool on);

    unsigned physical_pool() const { return state_.settings_vfs; }
    MacKey mac_of(unsigned vf) const { return state_.vfs[vf].mac; }

    struct Vf {
        VfPolicy policy;
        MacKey mac = 0;  // in use
        Api api = Api::v1_0;
        bool clear_to_send = false;
        CastMode cast_mode = CastMode::none;
        std::vector<std::uint16_t> hashes;  // 30 at most
        template <class Archive>
        void fields(Archive& a) {
            a(policy, mac, api, clear_to_send, cast_mode, hashes);
        }
    };
    struct Rar {
        enum class Use : std::uint8_t {
            nobody,
            host,   // the physical function's own, or one behind it
            own,    // a VF's
            extra,  // a filter that a VF asked for, beside its own address
        };
        MacKey mac = 0;
        std::uint8_t pool = 0;
        Use use = Use::nobody;
        template <class Archive>
        void fields(Archive& a) {
            a(mac, pool, use);
        }
    };
    struct State {
        bool started = false;
        std::uint32_t settings_vfs = 0, queues_per_pool = 2, max_frame = 1518;
        Api newest_api = Api::v1_5;
        std::array<Vf, max_pools> vfs;
        std::array<Rar, 128> rars{};
        std::uint64_t messages = 0, refused = 0;
        template <class Archive>
        void fields(Archive& a) {
            a(started, settings_vfs, queues_per_pool, max_frame, newest_api, vfs, rars, messages, refused);
        }
    };
    const State& state() const { return state_; }
    template <class Archive>
    void fields(Archive& a) {
        a(state_);
    }

private:
    using Words = std::array<std::uint32_t, mailbox::dwords>;

    std::uint32_t read(std::uint32_t offset) { return registers_.read_register(offset); }
    void write(std::uint32_t offset, std::uint32_t value) { registers_.write_register(offset, value); }
    void change(std::uint32_t offset, std::uint32_t clear, std::uint32_t set);
    void set_bit(std::uint32_t table, unsigned index, bool on);

    void configure_switch(const PhysicalSettings& settings);
    void configure_hash();
    bool add_mac(MacKey mac, unsigned pool, Rar::Use use);
    bool room_for(Rar::Use use) const;
    void delete_mac(MacKey mac, unsigned pool, Rar::Use use);
    void write_rar(unsigned index);
    bool set_vlan_member(unsigned vlan, unsigned pool, bool member);
    void clear_vlans(unsigned vf);
    void set_spoof_check(unsigned vf, bool mac, bool vlan);
    void set_rate(unsigned vf);
    void set_enables(unsigned vf);
    void set_multicast_table();
    void restart(unsigned vf);
    void stop_transmit(unsigned queue);

    void serve(unsigned vf);
    void send(unsigned vf, std::span<const std::uint32_t> words);
    // physical_mailbox.cpp: each gives whether it was granted, and may change the words.
    bool answer(unsigned vf, Words& words);
    void reset_message(unsigned vf);
    bool set_mac(unsigned vf, const Words& words);
    bool set_multicast(unsigned vf, const Words& words);
    bool set_vlan(unsigned vf, const Words& words);
    bool set_max_frame(unsigned vf, const Words& words);
    bool set_mac_filter(unsigned vf, const Words& words);
    bool negotiate(unsigned vf, const Words& words);
    bool get_queues(unsigned vf, Words& words);
    bool get_redirection(unsigned vf, Words& words);
    bool get_hash_key(unsigned vf, Words& words);
    bool update_cast_mode(unsigned vf, Words& words);
    bool get_link_state(unsigned vf, Words& words);

    sim::Scope scope_;
    RegisterPort& registers_;
    State state_;
};

}  // namespace sriov_nic
