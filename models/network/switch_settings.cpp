#include "models/network/switch_settings.h"

#include <array>

namespace models {

std::optional<std::uint16_t> VlanSettings::enter(const std::optional<VlanTag>& tag) const {
    if (!tag || tag->id == 0) return id;  // a tag with identifier 0 states a priority only
    if (mode == VlanMode::access || !carries(tag->id)) return std::nullopt;
    return tag->id;
}

bool VlanSettings::carries(std::uint16_t vlan) const {
    return vlan == id || (mode == VlanMode::trunk && (all || allowed.contains(vlan)));
}

namespace {
struct Text {
    const char* name;
    const char* description;
};
constexpr std::array<Text, drop_reasons> texts{{
#define MODELS_TEXT_ENTRY(name, description) {#name, description},
    MODELS_SWITCH_DROP_REASONS(MODELS_TEXT_ENTRY)
#undef MODELS_TEXT_ENTRY
}};
}  // namespace

const char* name_of(DropReason reason) {
    return texts[static_cast<std::size_t>(reason)].name;
}

const char* description_of(DropReason reason) {
    return texts[static_cast<std::size_t>(reason)].description;
}

}  // namespace models
