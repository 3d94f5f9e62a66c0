// The guest's side of dynamic memory, as Linux's hv_balloon behaves: asks for the newest version first, gives pages in
// runs of 2 MiB or one by one, reports once a second.
#pragma once

#include <cstdint>
#include <vector>

#include "vmbus/inband/guest_link.h"
#include "vmbus/memory/dynamic_memory_protocol.h"

namespace vmbus {

// The memory that the driver takes from and frees to.
class GuestPages {
public:
    // A run of free pages, at most so many; count 0: there is none.
    virtual PageRange allocate(std::uint64_t most) = 0;
    virtual void free(const PageRange& range) = 0;
    // How many pages of the new memory it takes.
    virtual std::uint64_t add(const PageRange& range) = 0;

protected:
    ~GuestPages() = default;
};

class DynamicMemoryClient final {
public:
    DynamicMemoryClient(GuestLink& link, GuestPages& pages) : link_(link), pages_(pages) {}

    void start();
    void received(std::span<const std::byte> message);
    void report(std::uint64_t available, std::uint64_t committed);

    std::uint32_t version() const { return state_.version; }
    bool ready() const { return state_.ready; }
    std::uint64_t most_pages() const { return state_.most_pages; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct State {
        std::uint32_t version = 0;
        std::uint32_t next = 0;  // of the list of versions
        bool ready = false;
        std::uint64_t most_pages = 0;
        std::uint32_t transaction = 0;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(version, next, ready, most_pages, transaction);
        }
    };

    void ask_version();
    void balloon(std::uint64_t pages);
    void send(dynamic_memory::Type type, std::span<const std::byte> body);

    GuestLink& link_;
    GuestPages& pages_;
    State state_;
};

}  // namespace vmbus
