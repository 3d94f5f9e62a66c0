#include "models/platform.h"

#include <algorithm>
#include <span>

#include "models/platform_module.h"
#include "sim/check.h"

// SystemC's library has a main() that calls this. Ours doesn't; the symbol only has to exist.
extern "C" __attribute__((visibility("default"))) int sc_main(int, char**) {
    return 1;
}

namespace models {
namespace {

// sim::Time counts what SystemC counts at its default resolution.
sc_core::sc_time to_systemc(sim::Time t) {
    return sc_core::sc_time::from_value(static_cast<sc_dt::uint64>(t.ps()));
}
sim::Time from_systemc(const sc_core::sc_time& t) {
    const sc_dt::uint64 ps = t.value();
    return ps > static_cast<sc_dt::uint64>(sim::Time::never().ps()) ? sim::Time::never()
                                                                    : sim::Time::ps(static_cast<std::int64_t>(ps));
}

}  // namespace

Platform& Platform::instance() {
    static PlatformModule module{"verdigris"};
    static Platform platform{module};
    return platform;
}

RunEnd Platform::run(Machine& machine, sim::Time until, const std::function<bool()>& stop) {
    return module_.run(machine, until, stop);
}
void Platform::set_memory(const mmu::SystemMemory& memory) {
    module_.set_memory(memory);
}
void Platform::poke() {
    module_.poke();
}

bool Platform::others_pending() const {
    return module_.others_pending();
}

PlatformModule::PlatformModule(const sc_core::sc_module_name& module_name)
    : sc_module(module_name), memory("memory"), wake_("wake") {
    VG_CHECK(sc_core::sc_get_time_resolution() == sc_core::sc_time(1, sc_core::SC_PS));
    memory.register_b_transport(this, &PlatformModule::transport);
    memory.register_transport_dbg(this, &PlatformModule::debug);
    memory.register_get_direct_mem_ptr(this, &PlatformModule::direct_access);
    SC_HAS_PROCESS(PlatformModule);
    SC_METHOD(drain);
    sensitive << wake_;
    dont_initialize();
}

// SystemC's clock in the machine's time. It may lie behind the machine's own while nobody else has anything to do.
sim::Time PlatformModule::systemc_time() const {
    return from_systemc(sc_core::sc_time_stamp() - base_);
}

sim::Time PlatformModule::lead() const {
    if (run_ == nullptr) return sim::Time::zero();
    return std::max(run_->machine->now() - systemc_time(), sim::Time::zero());
}

// When another SystemC model acts next. To be asked within drain(), whose own triggers are spent.
sim::Time PlatformModule::others_next() const {
    if (!sc_core::sc_pending_activity()) return sim::Time::never();
    return systemc_time() + from_systemc(sc_core::sc_time_to_pending_activity());
}

void PlatformModule::trigger_at(sim::Time t) {
    next_trigger(to_systemc(std::max(t - systemc_time(), sim::Time::zero())), wake_);
}

RunEnd PlatformModule::run(Machine& machine, sim::Time until, const std::function<bool()>& stop) {
    VG_CHECK(run_ == nullptr, "a run within a run");
    // A machine that is new here goes on from the present SystemC time, whatever its own clock says.
    if (base_of_ != &machine || machine.now() != systemc_time()) {
        base_of_ = &machine;
        base_ = sc_core::sc_time_stamp() - to_systemc(machine.now());  // may wrap; only differences count
    }
    Run run{&machine, until, &stop, false, RunEnd::time, nullptr};
    run_ = &run;
    wake_.notify(sc_core::SC_ZERO_TIME);
    // Ends by drain()'s pause; an error of SystemC's own throws.
    try {
        sc_core::sc_start();
    } catch (...) {
        run_ = nullptr;
        throw;
    }
    run_ = nullptr;
    if (run.error) std::rethrow_exception(run.error);
    return run.end;
}

void PlatformModule::drain() {
    if (run_ == nullptr) return;  // a trigger that a former run left behind
    try {
        while (step()) {
        }
    } catch (...) {
        // SystemC would turn it into a report of its own.
        run_->error = std::current_exception();
        sc_core::sc_pause();
    }
}

// One event of the machine; false when SystemC goes on first. The machine may run ahead of SystemC's clock up to the
// next act of another model, which then finds the machine's clock at its own time.
bool PlatformModule::step() {
    Machine& machine = *run_->machine;
    if (run_->over) return finish(run_->end);
    if ((*run_->stop)()) return finish(RunEnd::stopped);
    const sim::Time next = machine.next_event();
    const sim::Time others = others_next();
    if (next <= std::min(others, run_->until) && !next.is_never()) {
        machine.run_next();
        return true;
    }
    if (others <= run_->until && !others.is_never()) {
        if (others > machine.now()) machine.advance_clock(others);
        trigger_at(others);
        return false;
    }
    if (next.is_never() && others.is_never()) return finish(RunEnd::idle);
    if (run_->until > machine.now()) machine.advance_clock(run_->until);
    return finish(RunEnd::time);
}

// Ends the run as soon as SystemC's clock has caught up with the machine's.
bool PlatformModule::finish(RunEnd end) {
    run_->over = true;
    run_->end = end;
    if (systemc_time() < run_->machine->now()) {
        trigger_at(run_->machine->now());
    } else {
        sc_core::sc_pause();
    }
    return false;
}

tlm::tlm_response_status PlatformModule::access(tlm::tlm_generic_payload& transaction) {
    const sc_dt::uint64 address = transaction.get_address();
    const unsigned length = transaction.get_data_length();
    const unsigned char* enables = transaction.get_byte_enable_ptr();
    if (transaction.get_streaming_width() < length) return tlm::TLM_BURST_ERROR_RESPONSE;
    if (enables != nullptr && transaction.get_byte_enable_length() == 0) return tlm::TLM_BYTE_ENABLE_ERROR_RESPONSE;
    if (!view_.contains(address, length)) return tlm::TLM_ADDRESS_ERROR_RESPONSE;
    auto* data = reinterpret_cast<std::byte*>(transaction.get_data_ptr());
    const std::span<std::byte> bytes{data, length};
    bool done = true;
    if (transaction.is_read()) {
        if (enables == nullptr) {
            done = view_.read(address, bytes);
        } else {
            for (unsigned i = 0; i < length && done; ++i) {
                if (enables[i % transaction.get_byte_enable_length()] == TLM_BYTE_DISABLED) continue;
                done = view_.read(address + i, bytes.subspan(i, 1));
            }
        }
    } else if (transaction.is_write()) {
        if (enables == nullptr) {
            done = view_.write(address, bytes);
        } else {
            for (unsigned i = 0; i < length && done; ++i) {
                if (enables[i % transaction.get_byte_enable_length()] == TLM_BYTE_DISABLED) continue;
                done = view_.write(address + i, bytes.subspan(i, 1));
            }
        }
    }
    return done ? tlm::TLM_OK_RESPONSE : tlm::TLM_ADDRESS_ERROR_RESPONSE;
}

void PlatformModule::transport(tlm::tlm_generic_payload& transaction, sc_core::sc_time& delay) {
    transaction.set_response_status(access(transaction));
    transaction.set_dmi_allowed(view_.size() != 0 && (transaction.is_read() || view_.watch() == nullptr));
    delay += memory_latency;
}

unsigned PlatformModule::debug(tlm::tlm_generic_payload& transaction) {
    return access(transaction) == tlm::TLM_OK_RESPONSE ? transaction.get_data_length() : 0;
}

// A direct write would bypass the watch on translated code, so it is allowed only where nobody watches.
bool PlatformModule::direct_access(tlm::tlm_generic_payload& transaction, tlm::tlm_dmi& dmi) {
    std::byte* base = view_.at(0, view_.size());
    const bool may_write = view_.watch() == nullptr;
    dmi.init();
    dmi.set_start_address(0);
    dmi.set_end_address(view_.size() == 0 ? ~sc_dt::uint64{0} : view_.size() - 1);
    if (base == nullptr || view_.size() == 0 || (transaction.is_write() && !may_write)) {
        dmi.allow_none();
        return false;
    }
    dmi.set_dmi_ptr(reinterpret_cast<unsigned char*>(base));
    dmi.set_read_latency(memory_latency);
    dmi.set_write_latency(memory_latency);
    if (may_write) {
        dmi.allow_read_write();
    } else {
        dmi.allow_read();
    }
    return true;
}

}  // namespace models
