#include "models/pci/example_function.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "pci/capabilities.h"
#include "sim/bits.h"

namespace models {

namespace {
constexpr std::uint32_t pending_offset = 0x800;
constexpr std::uint64_t bar_bytes = 4096;
}  // namespace

const std::shared_ptr<const pci::FunctionLayout>& ExampleFunction::shared_layout() {
    static const std::shared_ptr<const pci::FunctionLayout> shared = [] {
        constexpr std::uint16_t data_processing = 0x1180;
        pci::Identity identity;
        identity.vendor = vendor;
        identity.device = device;
        identity.revision = 1;
        identity.class_of = data_processing;
        identity.subsystem_vendor = vendor;
        identity.subsystem = device;
        const pci::Bar bar{pci::BarKind::memory64, bar_bytes, true};
        const std::array bars{bar, pci::Bar{}, bar};
        auto layout =
            std::make_shared<pci::FunctionLayout>(pci::device_function(identity, bars, pci::extended_config_bytes));
        pci::add_power_management(layout->config, {});
        pci::add_msix(layout->config, {.vectors = vectors,
                                       .table_bar = 2,
                                       .table_offset = 0,
                                       .pending_bar = 2,
                                       .pending_offset = pending_offset});
        pci::PciExpress express;
        express.function_level_reset = true;
        pci::add_express(layout->config, express);
        pci::add_aer(layout->config, false);
        return layout;
    }();
    return shared;
}

ExampleFunction::ExampleFunction(const sim::Scope& scope, pci::Slot slot)
    : scope_(scope),
      function_(scope, std::move(slot), shared_layout(), *this),
      msix_(function_),
      timer_(scope.agenda(), scope.path() + ".work", [this] { finish(); }),
      commands_(scope.counter("commands", "count", "commands carried out")),
      registration_(scope.register_state(*this)) {}

std::uint64_t ExampleFunction::read_bar(unsigned bar, std::uint64_t offset, unsigned size) {
    if (bar == 2) {
        return offset < pending_offset ? msix_.read_table(offset, size)
                                       : msix_.read_pending(offset - pending_offset, size);
    }
    if (size != 4) return sim::mask_of(8 * size - 1, 0);
    switch (offset) {
        case reg_identification:
            return identification;
        case reg_scratch:
            return state_.scratch;
        case reg_address:
            return state_.address & 0xffff'ffff;
        case reg_address_high:
            return state_.address >> 32;
        case reg_length:
            return state_.length;
        case reg_status:
            return std::exchange(state_.status, std::uint32_t{idle});
        case reg_result:
            return state_.result;
        default:
            return 0;
    }
}

void ExampleFunction::write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (bar == 2) {
        if (offset < pending_offset) msix_.write_table(offset, size, value);
        return;
    }
    if (size != 4) return;
    const auto word = static_cast<std::uint32_t>(value);
    switch (offset) {
        case reg_scratch:
            state_.scratch = word;
            return;
        case reg_address:
            state_.address = sim::with_bits(state_.address, 31, 0, word);
            return;
        case reg_address_high:
            state_.address = sim::with_bits(state_.address, 63, 32, word);
            return;
        case reg_length:
            state_.length = std::min(word, most_bytes);
            return;
        case reg_command:
            if (timer_.armed() || word < sum || word > nothing) return;
            state_.command = word;
            timer_.arm_after(work);
            return;
        default:
            return;
    }
}

void ExampleFunction::function_reset(pci::ResetKind) {
    state_ = State{};
    timer_.disarm();
}

void ExampleFunction::finish() {
    ++commands_;
    state_.status = carry_out() ? done : refused;
    scope_.trace("example_done", state_.command, state_.status, state_.result);
    msix_.raise(0);
}

bool ExampleFunction::carry_out() {
    std::vector<std::byte> bytes(state_.length);
    switch (state_.command) {
        case sum:
            if (function_.master().read(state_.address, bytes) != pci::DmaStatus::ok) return false;
            state_.result = 0;
            for (const std::byte b : bytes) state_.result += std::to_integer<std::uint32_t>(b);
            return true;
        case fill:
            std::ranges::fill(bytes, static_cast<std::byte>(state_.scratch));
            return function_.master().write(state_.address, bytes) == pci::DmaStatus::ok;
        default:
            return true;
    }
}

}  // namespace models
