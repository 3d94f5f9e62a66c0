// The access list of one port: among the rules that allow or deny the first that fits decides, and no rule allows;
// among the meters the first that fits counts.
#pragma once

#include <cstdint>
#include <vector>

#include "models/network/headers.h"
#include "models/network/switch_settings.h"

namespace models {

class PortAcl final {
public:
    // `rules` in the order in which they were added.
    void set(const std::vector<AclRule>& rules);

    // `outbound`: the port's owner sent the frame. Meters count, whatever the answer.
    bool allows(const Headers& headers, std::size_t bytes, bool outbound);

    struct Meter {
        std::uint64_t frames = 0;
        std::uint64_t bytes = 0;
        bool operator==(const Meter&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(frames, bytes);
        }
    };
    // By the index of the rule as it was added.
    Meter meter(std::size_t rule) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(entries_);
    }

private:
    struct Entry {
        AclRule rule;
        std::uint32_t index = 0;
        Meter meter;
        bool operator==(const Entry&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(rule, index, meter);
        }
    };
    static bool fits(const AclRule& rule, const Headers& headers, bool outbound);

    std::vector<Entry> entries_;  // by weight, the highest first
};

}  // namespace models
