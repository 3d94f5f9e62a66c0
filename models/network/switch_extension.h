// Extensions of the virtual switch, in the order of Hyper-V's: a frame passes the port's own policies, then on the
// ingress path capture, filter and forward; then, with its destinations known, on the egress path forward, filter and
// capture, and at last the policies of each destination. Among extensions of one kind the one added last is the nearest
// to the ports: first on the ingress path, last on the egress path.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/network/frame.h"
#include "models/network/headers.h"
#include "models/network/mac_table.h"
#include "models/network/switch_settings.h"

namespace models {

enum class ExtensionKind : std::uint8_t {
    capture,  // sees frames, changes nothing
    filter,   // may change a frame, drop it, or keep it from single ports
    forward,  // chooses the destinations; a switch has at most one
};

enum class SwitchPath : std::uint8_t { ingress, egress };

struct SwitchContext {
    PortId source = no_port;
    NetworkId network;
    std::span<const PortId> destinations;  // none on the ingress path
};

enum class FilterVerdict : std::uint8_t { pass, changed, drop };

class SwitchExtension {
public:
    virtual ExtensionKind kind() const = 0;

    virtual void capture(SwitchPath, const SwitchContext&, const Frame&) {}
    virtual FilterVerdict filter_ingress(const SwitchContext&, Frame&) { return FilterVerdict::pass; }
    virtual bool filter_egress(const SwitchContext&, const Frame&, PortId) { return true; }
    // True if it chose; else the switch does. Ports outside the frame's network are left out whatever it says.
    virtual bool choose(const SwitchContext&, const Frame&, const Headers&, std::vector<PortId>&) { return false; }

protected:
    ~SwitchExtension() = default;
};

}  // namespace models
