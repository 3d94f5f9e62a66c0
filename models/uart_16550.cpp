#include "models/uart_16550.h"

namespace models {
namespace {
// Data sheet, table 2 and section 8
constexpr std::uint8_t ier_receive = 1, ier_transmit = 2, ier_line = 4, ier_modem = 8;
constexpr std::uint8_t iir_none = 1, iir_modem = 0, iir_transmit = 2, iir_receive = 4, iir_line = 6, iir_timeout = 0xc;
constexpr std::uint8_t lcr_latch = 0x80;
constexpr std::uint8_t mcr_out2 = 0x08;
constexpr std::uint8_t lsr_data = 1, lsr_overrun = 2, lsr_errors = 0x1c, lsr_thre = 0x20, lsr_temt = 0x40,
                       lsr_fifo_error = 0x80;
constexpr std::uint8_t modem_connected = 0xb0;  // CTS, DSR, DCD
}  // namespace

struct Uart16550::Row {
    std::string_view name;
    std::uint8_t offset;
    bool in_latch;      // seen while LCR bit 7 (divisor latch access) is set
    bool out_of_latch;  // seen while it is clear
    std::uint8_t (Uart16550::*read)();
    void (Uart16550::*write)(std::uint8_t);
};

const Uart16550::Row* Uart16550::find(unsigned offset, bool latch) {
    static constexpr Row table[] = {
        {"rbr/thr", 0, false, true, &Uart16550::read_rbr, &Uart16550::write_thr},
        {"dll", 0, true, false, &Uart16550::read_dll, &Uart16550::write_dll},
        {"ier", 1, false, true, &Uart16550::read_ier, &Uart16550::write_ier},
        {"dlm", 1, true, false, &Uart16550::read_dlm, &Uart16550::write_dlm},
        {"iir/fcr", 2, true, true, &Uart16550::read_iir, &Uart16550::write_fcr},
        {"lcr", 3, true, true, &Uart16550::read_lcr, &Uart16550::write_lcr},
        {"mcr", 4, true, true, &Uart16550::read_mcr, &Uart16550::write_mcr},
        {"lsr", 5, true, true, &Uart16550::read_lsr, nullptr},
        {"msr", 6, true, true, &Uart16550::read_msr, nullptr},
        {"scr", 7, true, true, &Uart16550::read_scr, &Uart16550::write_scr},
    };
    for (const Row& row : table) {
        if (row.offset == offset && (latch ? row.in_latch : row.out_of_latch)) return &row;
    }
    return nullptr;
}

Uart16550::Uart16550(const sim::Scope& scope, std::uint16_t base, InterruptLine& interrupt, ConsoleSink& sink,
                     UartTiming timing)
    : scope_(scope),
      base_(base),
      interrupt_(interrupt),
      sink_(sink),
      timing_(timing),
      sent_(scope.counter("sent", "bytes", "bytes the guest has sent through the serial port")),
      received_(scope.counter("received", "bytes", "bytes that reached the serial port's receiver")),
      transmit_timer_(scope.agenda(), scope.path() + ".transmit", [this] { character_sent(); }),
      timeout_timer_(scope.agenda(), scope.path() + ".timeout",
                     [this] {
                         state_.timeout_pending = true;
                         update_interrupt();
                     }),
      typed_timer_(scope.agenda(), scope.path() + ".typed", [this] { feed_typed(); }) {
    reset();
}

void Uart16550::reset() {
    state_ = {};
    state_.modem_lines = modem_connected;
    transmit_timer_.disarm();
    timeout_timer_.disarm();
    typed_timer_.disarm();
    update_interrupt();
}

std::uint32_t Uart16550::read_port(std::uint16_t port, unsigned) {
    const Row* row = find(static_cast<unsigned>(port - base_), (state_.lcr & lcr_latch) != 0);
    return row != nullptr ? (this->*row->read)() : 0xff;
}

void Uart16550::write_port(std::uint16_t port, unsigned, std::uint32_t value) {
    const Row* row = find(static_cast<unsigned>(port - base_), (state_.lcr & lcr_latch) != 0);
    if (row != nullptr && row->write != nullptr) (this->*row->write)(static_cast<std::uint8_t>(value));
}

std::uint8_t Uart16550::read_rbr() {
    if (state_.received.empty()) return 0;
    const std::uint8_t byte = state_.received.front().byte;
    state_.received.pop_front();
    state_.timeout_pending = false;
    restart_timeout();
    update_interrupt();
    if (!state_.typed.empty()) feed_typed();
    return byte;
}

void Uart16550::write_thr(std::uint8_t value) {
    state_.thre_pending = false;
    if (loopback()) {
        // The shift register's output goes to the receiver's input (8.7, "loopback").
        state_.thre_pending = true;
        receive(value);
        return;
    }
    if (timing_ == UartTiming::immediate) {
        send_out(value);
        state_.thre_pending = true;
        update_interrupt();
        return;
    }
    if (state_.transmit.size() == capacity()) state_.transmit.pop_back();  // THR is overwritten
    state_.transmit.push_back(value);
    start_shifting();
    update_interrupt();
}

std::uint8_t Uart16550::read_ier() {
    return state_.ier;
}

void Uart16550::write_ier(std::uint8_t value) {
    // Turning the transmitter's interrupt on while the transmitter is empty raises it (table 5, "source").
    const bool turned_on = (value & ~state_.ier & ier_transmit) != 0;
    state_.ier = value & 0x0f;
    if (turned_on && state_.transmit.empty()) state_.thre_pending = true;
    update_interrupt();
}

std::uint8_t Uart16550::read_iir() {
    const std::uint8_t identity = identify();
    if (identity == iir_transmit) {
        state_.thre_pending = false;  // reading it as the source resets it (table 5)
        update_interrupt();
    }
    return static_cast<std::uint8_t>(identity | (fifos_enabled() ? 0xc0 : 0));
}

void Uart16550::write_fcr(std::uint8_t value) {
    // Changing bit 0 clears both FIFOs; the other bits only count when bit 0 is written as 1 (8.5).
    const bool switched = ((value ^ state_.fcr) & 1) != 0;
    if (switched || ((value & 1) != 0 && (value & 2) != 0)) clear_receiver();
    if (switched || ((value & 1) != 0 && (value & 4) != 0)) clear_transmitter();
    state_.fcr = (value & 1) != 0 ? value & 0xc1 : 0;
    update_interrupt();
    feed_typed();
}

std::uint8_t Uart16550::read_lcr() {
    return state_.lcr;
}
void Uart16550::write_lcr(std::uint8_t value) {
    state_.lcr = value;
}
std::uint8_t Uart16550::read_mcr() {
    return state_.mcr;
}
void Uart16550::write_mcr(std::uint8_t value) {
    state_.mcr = value & 0x1f;
    update_modem();
    update_interrupt();
    feed_typed();
}

std::uint8_t Uart16550::read_lsr() {
    const std::uint8_t status = line_status();
    // Reading clears the error bits, those of the character at the top of the FIFO among them (8.4).
    state_.overrun = false;
    if (!state_.received.empty()) state_.received.front().errors = 0;
    update_interrupt();
    return status;
}

std::uint8_t Uart16550::read_msr() {
    const auto value = static_cast<std::uint8_t>(state_.modem_lines | state_.msr_delta);
    state_.msr_delta = 0;
    update_interrupt();
    return value;
}

std::uint8_t Uart16550::read_scr() {
    return state_.scr;
}
void Uart16550::write_scr(std::uint8_t value) {
    state_.scr = value;
}
std::uint8_t Uart16550::read_dll() {
    return static_cast<std::uint8_t>(state_.divisor);
}
void Uart16550::write_dll(std::uint8_t value) {
    state_.divisor = static_cast<std::uint16_t>((state_.divisor & 0xff00) | value);
}
std::uint8_t Uart16550::read_dlm() {
    return static_cast<std::uint8_t>(state_.divisor >> 8);
}
void Uart16550::write_dlm(std::uint8_t value) {
    state_.divisor = static_cast<std::uint16_t>((state_.divisor & 0x00ff) | (value << 8));
}

std::size_t Uart16550::trigger_level() const {
    static constexpr std::array<std::size_t, 4> levels = {1, 4, 8, 14};
    return fifos_enabled() ? levels[state_.fcr >> 6] : 1;
}

std::uint8_t Uart16550::line_status() const {
    std::uint8_t status = 0;
    if (!state_.received.empty()) status |= lsr_data | (state_.received.front().errors & lsr_errors);
    if (state_.overrun) status |= lsr_overrun;
    if (state_.transmit.empty()) status |= lsr_thre;
    if (state_.transmit.empty() && !state_.shifting) status |= lsr_temt;
    if (fifos_enabled()) {
        for (const Received& r : state_.received) {
            if (r.errors != 0) status |= lsr_fifo_error;
        }
    }
    return status;
}

// Table 5, highest priority first.
std::uint8_t Uart16550::identify() const {
    if ((state_.ier & ier_line) != 0 && (line_status() & (lsr_overrun | lsr_errors)) != 0) return iir_line;
    if ((state_.ier & ier_receive) != 0 && state_.received.size() >= trigger_level()) return iir_receive;
    if ((state_.ier & ier_receive) != 0 && state_.timeout_pending) return iir_timeout;
    if ((state_.ier & ier_transmit) != 0 && state_.thre_pending) return iir_transmit;
    if ((state_.ier & ier_modem) != 0 && state_.msr_delta != 0) return iir_modem;
    return iir_none;
}

void Uart16550::clear_receiver() {
    state_.received.clear();
    state_.timeout_pending = false;
    timeout_timer_.disarm();
}

void Uart16550::clear_transmitter() {
    // The shift register is not cleared (8.5, bit 2).
    if (!state_.transmit.empty()) state_.thre_pending = true;
    state_.transmit.clear();
}

sim::Time Uart16550::character_time() const {
    // Half bits: start, data, parity, and one, one and a half or two stop bits (8.1).
    const unsigned data = 5u + (state_.lcr & 3u);
    const bool long_stop = (state_.lcr & 4) != 0;
    const unsigned stop_halves = !long_stop ? 2 : data == 5 ? 3 : 4;
    const unsigned halves = 2 * (1 + data + ((state_.lcr & 8) != 0 ? 1 : 0)) + stop_halves;
    const std::uint64_t divisor = state_.divisor != 0 ? state_.divisor : 1;
    return sim::cycles_to_time(halves * 8 * divisor, clock_hz);
}

void Uart16550::start_shifting() {
    if (state_.shifting || state_.transmit.empty()) return;
    state_.shift = state_.transmit.front();
    state_.transmit.pop_front();
    state_.shifting = true;
    if (state_.transmit.empty()) state_.thre_pending = true;
    transmit_timer_.arm_after(character_time());
}

void Uart16550::character_sent() {
    state_.shifting = false;
    send_out(state_.shift);
    start_shifting();
    update_interrupt();
}

void Uart16550::send_out(std::uint8_t byte) {
    ++sent_;
    scope_.trace("serial_out", byte);
    sink_.byte(byte);
}

void Uart16550::type(std::span<const std::uint8_t> bytes) {
    state_.typed.insert(state_.typed.end(), bytes.begin(), bytes.end());
    feed_typed();
}

void Uart16550::feed_typed() {
    if (typed_timer_.armed() || loopback()) return;
    while (!state_.typed.empty() && state_.received.size() < capacity()) {
        const std::uint8_t byte = state_.typed.front();
        state_.typed.pop_front();
        receive(byte);
        if (timing_ == UartTiming::from_divisor) {
            typed_timer_.arm_after(character_time());
            return;
        }
    }
}

void Uart16550::receive(std::uint8_t byte, std::uint8_t error_bits) {
    ++received_;
    scope_.trace("serial_in", byte, error_bits);
    const Received character{byte, static_cast<std::uint8_t>(error_bits & lsr_errors)};
    if (state_.received.size() < capacity()) {
        state_.received.push_back(character);
    } else {
        // With FIFOs the character in the shift register is lost, without them the buffer is overwritten (8.4, bit 1).
        state_.overrun = true;
        if (!fifos_enabled()) state_.received.front() = character;
    }
    restart_timeout();
    update_interrupt();
}

// FIFO mode: characters below the trigger level that nobody fetches for four character times raise the time-out
// interrupt (8.6).
void Uart16550::restart_timeout() {
    if (fifos_enabled() && !state_.received.empty()) {
        timeout_timer_.arm_after(4 * character_time());
    } else {
        timeout_timer_.disarm();
    }
}

void Uart16550::update_modem() {
    std::uint8_t lines = modem_connected;
    if (loopback()) {
        // DTR -> DSR, RTS -> CTS, OUT1 -> RI, OUT2 -> DCD (8.7)
        lines = static_cast<std::uint8_t>((state_.mcr & 1) << 5 | (state_.mcr & 2) << 3 | (state_.mcr & 4) << 4 |
                                          (state_.mcr & 8) << 4);
    }
    const auto changed = static_cast<std::uint8_t>(lines ^ state_.modem_lines);
    // CTS, DSR and DCD report any change, RI only its end (8.8).
    const bool ring_ended = (changed & 0x40) != 0 && (lines & 0x40) == 0;
    state_.msr_delta |= static_cast<std::uint8_t>((changed & 0xb0) >> 4 | (ring_ended ? 4 : 0));
    state_.modem_lines = lines;
}

void Uart16550::update_interrupt() {
    // In loop-back the output pins are inactive, OUT2 among them.
    const bool gate = (state_.mcr & mcr_out2) != 0 && !loopback();
    interrupt_.set(gate && identify() != iir_none);
}

}  // namespace models
