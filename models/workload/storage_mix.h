// Reads and writes of a disk: shares by weight, sizes by weight, at random places or one after the other, so many at a
// time or as they arrive. By the synthetic SCSI controller, whose driver it brings along.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <span>

#include "models/behavioural/guest_platform.h"
#include "models/behavioural/storage_driver.h"
#include "models/workload/arrivals.h"
#include "models/workload/choice.h"
#include "models/workload/workload.h"
#include "sim/agenda.h"

namespace models {

class StorageMix final : public Workload, private StorageDriverUser {
public:
    static constexpr std::uint32_t block_bytes = 512;

    struct Settings {
        std::uint64_t first_byte = 0;  // the part of the disk that is used
        std::uint64_t span_bytes = 0;  // 0: all that is behind the first
        std::uint64_t read_weight = 1;
        std::uint64_t write_weight = 0;
        Choice bytes{4096};
        bool sequential = false;
        ArrivalSettings arrivals;
        std::uint32_t queue_depth = 1;  // of a closed loop
    };
    // Throws sim::UserError.
    StorageMix(const sim::Scope& scope, GuestPlatform& platform, const StorageDriver::Config& driver,
               const Settings& settings);

    void start() override;
    void stop() override;
    [[nodiscard]] bool issue() override;
    bool is_ready() const { return driver_.is_ready(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, mix_, random_, arrivals_, timer_);
    }

private:
    struct Request {
        sim::Time begun;
        std::uint64_t bytes = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(begun, bytes);
        }
    };
    struct Mix {
        bool running = false;
        std::uint64_t next_tag = 1;
        std::uint64_t cursor = 0;  // where the next sequential request begins, in blocks from the first
        std::map<std::uint64_t, Request> requests;
        Arrivals::Arrival next;
        bool has_next = false;
        template <class Archive>
        void fields(Archive& archive) {
            archive(running, next_tag, cursor, requests, next, has_next);
        }
    };
    static constexpr std::size_t most_outstanding = 65'536;

    // StorageDriverUser
    void storage_ready() override { fill(); }
    void storage_done(std::uint64_t tag, bool succeeded, std::span<const std::byte> data) override;

    bool closed_loop() const { return settings_.arrivals.kind == ArrivalKind::closed; }
    void fill();
    void submit(sim::Time begun, std::uint64_t bytes);
    void take_next();
    void expired();

    Settings settings_;
    Choice kind_;
    Mix mix_;
    sim::Random random_;
    Arrivals arrivals_;
    unsigned processors_;
    StorageDriver driver_;
    sim::Timer timer_;
    sim::StateRegistration registration_;
};

}  // namespace models
