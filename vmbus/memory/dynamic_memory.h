// Dynamic memory: takes pages from the guest (balloon), gives them back, adds memory, and hears once a second how the
// guest is off. One operation at a time, and the guest does it when it can.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vmbus/inband/inband_port.h"
#include "vmbus/memory/dynamic_memory_protocol.h"
#include "vmbus/memory/page_set.h"

namespace vmbus {

// Who owns the partition's memory.
class DynamicMemoryHost {
public:
    // All of it is RAM that the guest has.
    virtual bool has_memory(const PageRange& range) const = 0;
    // The guest does without these pages. What is in them is lost, and they may be taken away.
    virtual void pages_taken(std::span<const PageRange> ranges) = 0;
    // The guest shall have them again. False: the host has not got enough, and nothing was given.
    virtual bool give_pages(std::span<const PageRange> ranges) = 0;
    // New RAM where there was none. False: not there, or not enough.
    virtual bool add_memory(const PageRange& range) = 0;
    // This part of what was added the guest does not use.
    virtual void memory_refused(const PageRange& range) = 0;

protected:
    ~DynamicMemoryHost() = default;
};

// In pages of 4 KiB.
struct GuestMemoryStatus {
    std::uint64_t available = 0;
    std::uint64_t committed = 0;
    std::uint64_t page_file = 0;
    std::uint64_t zero_or_free = 0;
    sim::Time at;

    bool operator==(const GuestMemoryStatus&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(available, committed, page_file, zero_or_free, at);
    }
};

class DynamicMemoryListener {
public:
    virtual void memory_status(const GuestMemoryStatus& status) { (void)status; }
    // An operation is over: how many pages it moved.
    virtual void balloon_grown(std::uint64_t pages) { (void)pages; }
    virtual void balloon_shrunk(std::uint64_t pages) { (void)pages; }
    // `again`: it did not work now, but may later.
    virtual void memory_added(std::uint64_t pages, bool again) { (void)pages, (void)again; }

protected:
    ~DynamicMemoryListener() = default;
};

class DynamicMemory final : private InbandDevice {
public:
    static constexpr Guid instance = guid("1eccfd72-4b41-45ef-b73a-4a6e44c12924");

    struct Settings {
        std::uint32_t newest_version = dynamic_memory::version_2_0;
        std::uint64_t most_pages = 0;  // told to the guest, from version 1.0; 0: not told
        sim::Time per_range;           // what taking a range of pages out of the guest's address space costs
    };
    enum class Operation : std::uint8_t { none, balloon, unballoon, hot_add };

    DynamicMemory(const sim::Scope& scope, const ServiceHost& host, const Settings& settings, DynamicMemoryHost& memory,
                  DynamicMemoryListener* listener = nullptr);

    // Each starts an operation. False, and nothing happens: the guest's driver is not there or cannot do that, another
    // operation is under way, there is nothing to do, or the host has not got the memory.
    bool balloon(std::uint32_t pages);
    bool unballoon(std::uint64_t pages);
    // Linux adds in units of its alignment; without a region it works one out.
    bool hot_add(const PageRange& range, const std::optional<PageRange>& region = std::nullopt);

    bool ready() const { return state_.phase == Phase::ready; }
    Operation operation() const { return state_.operation; }
    std::uint32_t version() const { return state_.version; }
    std::uint64_t capabilities() const { return state_.capabilities; }
    const PageSet& ballooned() const { return state_.ballooned; }
    const GuestMemoryStatus& status() const { return state_.status; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, port_);
    }

private:
    enum class Phase : std::uint8_t { closed, negotiating, agreed, ready };
    struct State {
        Phase phase = Phase::closed;
        std::uint32_t version = 0;
        std::uint64_t capabilities = 0;
        std::uint32_t transaction = 0;
        Operation operation = Operation::none;
        std::uint64_t asked = 0;  // pages of the operation
        std::uint64_t moved = 0;  // of them, those done
        PageRange adding;
        PageSet ballooned;
        GuestMemoryStatus status;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(phase, version, capabilities, transaction, operation, asked, moved, adding, ballooned, status);
        }
    };

    void opened() override;
    void closed() override;
    void received(std::span<const std::byte> message, std::uint64_t transaction) override;
    sim::Time cost_of(std::span<const std::byte> message) const override;
    void handle_version(class ByteReader& body);
    void handle_capabilities(ByteReader& body);
    void handle_status(ByteReader& body);
    void handle_balloon(ByteReader& body);
    void handle_unballoon();
    void handle_hot_add(ByteReader& body);
    void send(dynamic_memory::Type type, std::span<const std::byte> body);
    bool may_start(std::uint64_t capability) const;
    void start(Operation operation, std::uint64_t pages);
    void fault(std::string_view reason);

    sim::Scope scope_;
    Settings settings_;
    DynamicMemoryHost& memory_;
    DynamicMemoryListener* listener_;
    State state_;
    sim::Counter& taken_;
    sim::Counter& given_;
    sim::Counter& added_;
    InbandPort port_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
