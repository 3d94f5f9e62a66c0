// Rows of the adapter: interrupt moderation, its receive buffer, traffic between two of its functions.
#include <fmt/format.h>

#include "models/validation/nic_path.h"
#include "models/validation/validation_row.h"

namespace models {

void add_moderation_rows(ValidationRows& rows) {
    for (const unsigned interval : {1u, 40u, 511u}) {
        // One interrupt in N quanta of 2.048 us.
        const std::int64_t published = 1'000'000'000'000 / (std::int64_t{2048} * interval);
        rows.push_back({"11", fmt::format("EITR interval {}", interval), "interrupts/s", published,
                        nic_interrupt_rate(interval), percent_of(published, 1), Basis::predicted,
                        "82599 datasheet, 8.2.3.5.12: a quantum of 2.048 us"});
    }
}

void add_receive_buffer_rows(ValidationRows& rows) {
    rows.push_back({"12", "10 Gb/s of 1518-byte frames against a receiver that has stopped", "us", 419'000,
                    nic_time_to_full(1518) / 1000, percent_of(419'000, 2), Basis::predicted,
                    "82599 datasheet, 1.4: 512 KiB at 10 Gb/s"});
}

// At least what the vendor's engineer says, at most what the link carries of both directions.
void add_vf_to_vf_rows(ValidationRows& rows) {
    constexpr std::int64_t least = 20'000;
    constexpr std::int64_t bound = 25'070;
    const NicPathRow path = run_nic_path(NicWay::vf_to_vf, 1518, 2, 4000);
    const auto megabits = static_cast<std::int64_t>(path.frame_bits * 1'000'000 / path.simulated_ps);
    rows.push_back({"23", "1518-byte frames from VF to VF, 20 to 25.07", "Gb/s", (least + bound) / 2, megabits,
                    (bound - least) / 2, Basis::predicted,
                    "a vendor's engineer: over 20 Gb/s; gen2 x8, MPS 256: 25.07 of both directions"});
}

}  // namespace models
