#include "models/systemc/tlm_function.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <vector>

#include "models/platform_module.h"
#include "models/systemc/agenda_process.h"
#include "pci/capabilities.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace models::systemc {

namespace {

constexpr unsigned table_bar = 2;
constexpr std::uint32_t pending_offset = 0x800;

const TlmFunctionConfig& checked(const TlmFunctionConfig& config) {
    const std::uint64_t bytes = config.bar_bytes;
    if (bytes < 4096 || bytes > HostPci::high_bytes_per_port / 2 || (bytes & (bytes - 1)) != 0) {
        throw sim::UserError(fmt::format("a TLM device's BAR of {} bytes: give a power of two from 4096 to {}", bytes,
                                         HostPci::high_bytes_per_port / 2));
    }
    if (config.vectors == 0 || config.vectors > 64) {
        throw sim::UserError(fmt::format("a TLM device with {} interrupts: give 1 to 64", config.vectors));
    }
    return config;
}

std::shared_ptr<const pci::FunctionLayout> layout_of(const TlmFunctionConfig& config) {
    pci::Identity identity;
    identity.vendor = config.vendor;
    identity.device = config.device;
    identity.revision = 1;
    identity.class_of = config.class_of;
    identity.subsystem_vendor = config.vendor;
    identity.subsystem = config.device;
    const std::array bars{pci::Bar{pci::BarKind::memory64, config.bar_bytes, true}, pci::Bar{},
                          pci::Bar{pci::BarKind::memory64, 4096, true}};
    auto layout =
        std::make_shared<pci::FunctionLayout>(pci::device_function(identity, bars, pci::extended_config_bytes));
    pci::add_power_management(layout->config, {});
    pci::add_msix(layout->config, {.vectors = config.vectors,
                                   .table_bar = table_bar,
                                   .table_offset = 0,
                                   .pending_bar = table_bar,
                                   .pending_offset = pending_offset});
    pci::PciExpress express;
    express.function_level_reset = true;
    pci::add_express(layout->config, express);
    pci::add_aer(layout->config, false);
    return layout;
}

// How far the host is ahead of SystemC.
sc_core::sc_time lead() {
    return to_systemc(Platform::instance().module().lead());
}

}  // namespace

TlmFunction::TlmFunction(const sc_core::sc_module_name& module_name, const sim::Scope& scope, HostPci& host,
                         const TlmFunctionConfig& config)
    : sc_module(module_name),
      registers("registers"),
      memory("memory"),
      interrupts("interrupts", checked(config).vectors),
      reset("reset"),
      scope_(scope),
      host_(host),
      config_(config),
      function_(scope, host.add_root_port().slot(0, 0), layout_of(config), *this),
      msix_(function_),
      placed_(host.place(function_)),
      device_acts_(scope.agenda(), scope.path() + ".device_acts", [] {}),
      errors_(scope.counter("errors", "count", "transactions that did not end well, either way")),
      registration_(scope.register_state(*this)) {
    memory.register_b_transport(this, &TlmFunction::transport);
    SC_HAS_PROCESS(TlmFunction);
    SC_METHOD(interrupted);
    for (unsigned n = 0; n < interrupts.size(); ++n) sensitive << interrupts[n].pos();
    dont_initialize();
}

TlmFunction::~TlmFunction() {
    host_.let_use(placed_.id, nullptr);
    host_.listen(placed_.id, nullptr);
}

void TlmFunction::refuse_checkpoint() const {
    throw sim::UserError(
        fmt::format("{} is a SystemC model from elsewhere: it has no state that could be saved", scope_.path()));
}

// From processors to the device
// ----------------------------------------------------------------------------------------------------------------

std::uint64_t TlmFunction::read_bar(unsigned bar, std::uint64_t offset, unsigned size) {
    if (bar == table_bar) {
        return offset < pending_offset ? msix_.read_table(offset, size)
                                       : msix_.read_pending(offset - pending_offset, size);
    }
    std::uint64_t value = 0;
    return access(tlm::TLM_READ_COMMAND, offset, size, value) ? value : sim::mask_of(8 * size - 1, 0);
}

void TlmFunction::write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (bar == table_bar) {
        if (offset < pending_offset) msix_.write_table(offset, size, value);
        return;
    }
    (void)access(tlm::TLM_WRITE_COMMAND, offset, size, value);
}

bool TlmFunction::access(tlm::tlm_command command, std::uint64_t offset, unsigned size, std::uint64_t& value) {
    tlm::tlm_generic_payload transaction;
    transaction.set_command(command);
    transaction.set_address(offset);
    transaction.set_data_ptr(reinterpret_cast<unsigned char*>(&value));
    transaction.set_data_length(size);
    transaction.set_streaming_width(size);
    const sc_core::sc_time ahead = lead();
    sc_core::sc_time delay = ahead;
    registers->b_transport(transaction, delay);
    // Writes are posted: how long the device takes over one is not the processor's time.
    if (command == tlm::TLM_READ_COMMAND && delay > ahead) host_.add_read_time(from_systemc(delay - ahead));
    stop_before_device();
    if (!transaction.is_response_error()) return true;
    ++errors_;
    function_.log_unsupported_request();
    return false;
}

// The access may have made the device do something soon. A processor that runs ahead within its slice stops there.
void TlmFunction::stop_before_device() {
    if (!sc_core::sc_pending_activity()) return;
    const sc_core::sc_time next = sc_core::sc_time_to_pending_activity(), ahead = lead();
    if (next <= ahead) return;
    const sim::Time at = scope_.now() + from_systemc(next - ahead);
    if (!device_acts_.armed() || at < device_acts_.deadline()) device_acts_.arm(at);
}

void TlmFunction::function_reset(pci::ResetKind) {
    reset.notify(lead());
}

// From the device
// ----------------------------------------------------------------------------------------------------------------

void TlmFunction::transport(tlm::tlm_generic_payload& transaction, sc_core::sc_time& delay) {
    const unsigned length = transaction.get_data_length();
    auto* data = reinterpret_cast<std::byte*>(transaction.get_data_ptr());
    if (transaction.get_byte_enable_ptr() != nullptr) {
        transaction.set_response_status(tlm::TLM_BYTE_ENABLE_ERROR_RESPONSE);
        return;
    }
    if (length == 0 || transaction.get_streaming_width() < length) {
        transaction.set_response_status(tlm::TLM_BURST_ERROR_RESPONSE);
        return;
    }
    pci::DmaStatus status = pci::DmaStatus::ok;
    if (transaction.is_read()) status = function_.master().read(transaction.get_address(), {data, length});
    if (transaction.is_write()) status = function_.master().write(transaction.get_address(), {data, length});
    if (status != pci::DmaStatus::ok) ++errors_;
    transaction.set_response_status(status == pci::DmaStatus::ok            ? tlm::TLM_OK_RESPONSE
                                    : status == pci::DmaStatus::unsupported ? tlm::TLM_ADDRESS_ERROR_RESPONSE
                                                                            : tlm::TLM_GENERIC_ERROR_RESPONSE);
    delay += to_systemc(config_.memory);
    Platform::instance().poke();
}

void TlmFunction::interrupted() {
    for (unsigned n = 0; n < interrupts.size(); ++n) {
        if (interrupts[n].posedge()) msix_.raise(n);
    }
    Platform::instance().poke();
}

}  // namespace models::systemc
