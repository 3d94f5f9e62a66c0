// The guest's end of a bus, for guests that execute no instructions and for tests: it connects, takes offers, makes
// GPADLs, opens channels and carries signals, by the same messages and pages as a kernel's driver.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sim/flat_map.h"
#include "sim/scope.h"
#include "vmbus/client/client_channel.h"
#include "vmbus/client/page_allocator.h"
#include "vmbus/messages.h"
#include "vmbus/ports.h"

namespace vmbus {

// What a guest does with its bus.
class BusDriver {
public:
    virtual ~BusDriver() = default;
    virtual void connected(std::uint32_t version) { (void)version; }
    // The host speaks no version that was asked for.
    virtual void refused() {}
    // bind() it to a driver, then open() it; or leave it.
    virtual void offered(ClientChannel& channel) = 0;
    virtual void offers_delivered() {}
    virtual void unloaded() {}
    virtual void socket_refused(const Guid& endpoint, const Guid& service) { (void)endpoint, (void)service; }
    // Restoring a checkpoint made this channel anew: its driver.
    virtual ChannelDriver* adopt(ClientChannel& channel) {
        (void)channel;
        return nullptr;
    }
};

struct BusClientConfig {
    std::uint32_t newest_version = version::v5_3;
    std::uint32_t oldest_version = version::v0_13;  // tried one after the other, newest first
    std::uint32_t message_vp = 0;
    bool monitor_pages = true;
};

class BusClient final {
public:
    BusClient(const sim::Scope& scope, GuestMemory& memory, HostPort& host, PageAllocator& pages, BusDriver& driver,
              const BusClientConfig& config = {});
    ~BusClient();
    BusClient(const BusClient&) = delete;
    BusClient& operator=(const BusClient&) = delete;

    // Connects and asks for offers; connected() and offered() tell. Again: as a kernel that was started anew.
    void connect();
    void unload();
    void connect_socket(const Guid& endpoint, const Guid& service);
    std::uint32_t version() const { return state_.version; }

    // What arrives at the guest's interrupt controllers.
    void host_message(std::span<const std::byte> payload);
    void host_event(std::uint32_t vp, std::uint16_t flag);

    ClientChannel* find(std::uint16_t relid);
    // The first of this type with that sub-channel index.
    ClientChannel* find(const Guid& type, std::uint16_t sub_channel_index = 0);
    GuestMemory& memory() { return memory_; }
    // What a signal takes, either way (sim/working_set.h).
    void add_needs(sim::WorkingSet& set) const {
        set.add(&scope_, static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&state_.gpadls) -
                                                  reinterpret_cast<const std::byte*>(&scope_)));
        set.add_content(channels_, 4 * sim::WorkingSet::line_bytes);
        set.add(&host_, 2 * sizeof(void*));
    }
    PageAllocator& pages() { return pages_; }

    // For tests: a message as it is, well formed or not.
    void post_bytes(std::span<const std::byte> payload);

    void save(sim::Writer& writer) const;
    void restore(sim::Reader& reader);

private:
    friend class ClientChannel;
    struct GpadlUse {
        std::uint16_t relid = 0;
        bool closing = false;  // a ring whose channel is closed: its pages are free once the host has let go
        std::vector<std::uint64_t> pages;

        bool operator==(const GpadlUse&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(relid, closing, pages);
        }
    };
    struct State {
        std::uint32_t version = version::none;  // agreed on
        std::uint32_t asked = version::none;    // being asked for
        std::uint32_t message_connection = 0;
        std::uint32_t next_gpadl = 1;
        std::vector<std::uint64_t> shared_pages;  // interrupt page, monitor pages
        std::map<std::uint32_t, GpadlUse> gpadls;
        std::deque<std::vector<std::byte>> outgoing;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(version, asked, message_connection, next_gpadl, shared_pages, gpadls, outgoing);
        }
    };

    template <class T>
    void post(const T& message) {
        post_bytes(bytes_of(message));
    }
    void forget_channels();
    void ask(std::uint32_t version);
    void ask_older();
    void send_queued();
    void answered(const message::VersionResponse& response);
    void offered(const message::OfferChannel& offer);
    void rescinded(std::uint16_t relid);
    std::uint32_t post_gpadl(std::uint16_t relid, std::span<const GpaRange> ranges, GpadlUse use);
    void signal_host(ClientChannel& channel);
    void set_bit(std::uint64_t gpa, std::uint32_t bit);
    std::uint64_t interrupt_page() const { return state_.shared_pages[0] * page_bytes; }
    std::uint64_t monitor_page_to_host() const { return state_.shared_pages[2] * page_bytes; }

    sim::Scope scope_;
    GuestMemory& memory_;
    HostPort& host_;
    PageAllocator& pages_;
    BusDriver& driver_;
    BusClientConfig config_;
    State state_;
    sim::FlatMap<std::uint16_t, std::unique_ptr<ClientChannel>> channels_;  // by relid
    sim::Timer queue_timer_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
