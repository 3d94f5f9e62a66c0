#include "models/network/switch_acl.h"

#include <algorithm>

namespace models {

void PortAcl::set(const std::vector<AclRule>& rules) {
    entries_.clear();
    for (const AclRule& rule : rules) entries_.push_back({rule, static_cast<std::uint32_t>(entries_.size()), {}});
    std::stable_sort(entries_.begin(), entries_.end(),
                     [](const Entry& a, const Entry& b) { return a.rule.weight > b.rule.weight; });
}

bool PortAcl::allows(const Headers& headers, std::size_t bytes, bool outbound) {
    bool metered = false;
    bool decided = false;
    bool allowed = true;
    for (Entry& entry : entries_) {
        const bool is_meter = entry.rule.action == AclAction::meter;
        if ((is_meter ? metered : decided) || !fits(entry.rule, headers, outbound)) continue;
        if (is_meter) {
            metered = true;
            ++entry.meter.frames;
            entry.meter.bytes += bytes;
        } else {
            decided = true;
            allowed = entry.rule.action == AclAction::allow;
        }
    }
    return allowed;
}

bool PortAcl::fits(const AclRule& rule, const Headers& h, bool outbound) {
    if (rule.direction == (outbound ? AclDirection::inbound : AclDirection::outbound)) return false;
    const MacAddress& local_mac = outbound ? h.source : h.destination;
    const MacAddress& remote_mac = outbound ? h.destination : h.source;
    if (rule.local_mac && *rule.local_mac != local_mac) return false;
    if (rule.remote_mac && *rule.remote_mac != remote_mac) return false;
    if (rule.local_ip && !rule.local_ip->contains(outbound ? h.ip_source : h.ip_destination)) return false;
    if (rule.remote_ip && !rule.remote_ip->contains(outbound ? h.ip_destination : h.ip_source)) return false;
    if (rule.protocol && (h.ip == IpFamily::none || h.protocol != *rule.protocol)) return false;
    if ((rule.local_port || rule.remote_port) && !h.is_tcp() && !h.is_udp()) return false;
    if (rule.local_port && *rule.local_port != (outbound ? h.source_port : h.destination_port)) return false;
    return !rule.remote_port || *rule.remote_port == (outbound ? h.destination_port : h.source_port);
}

PortAcl::Meter PortAcl::meter(std::size_t rule) const {
    for (const Entry& entry : entries_) {
        if (entry.index == rule) return entry.meter;
    }
    return {};
}

}  // namespace models
