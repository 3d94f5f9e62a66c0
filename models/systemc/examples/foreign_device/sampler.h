// A device as somebody else would write it: TLM-2.0 and SystemC alone, nothing of ours. At every interval it writes the
// time in nanoseconds, 8 bytes, to the next place in memory; after the last it raises its interrupt.
#pragma once

#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include <cstdint>
#include <cstring>
#include <systemc>

class Sampler final : public sc_core::sc_module {
public:
    // 32-bit registers. Reading the status lowers the interrupt: 0 at work or idle, 1 done, 2 memory refused.
    enum Register : std::uint64_t {
        identification = 0x00,
        interval_ns = 0x04,
        address = 0x08,
        count = 0x0c,
        status = 0x10
    };
    static constexpr std::uint32_t identity = 0x5a4d'0001;
    static constexpr unsigned read_ns = 40, write_ns = 20;

    tlm_utils::simple_target_socket<Sampler> registers{"registers"};
    tlm_utils::simple_initiator_socket<Sampler> memory{"memory"};
    sc_core::sc_out<bool> interrupt{"interrupt"};

    explicit Sampler(const sc_core::sc_module_name& module_name) : sc_module(module_name) {
        registers.register_b_transport(this, &Sampler::transport);
        SC_HAS_PROCESS(Sampler);
        SC_THREAD(work);
        SC_METHOD(drive);
        sensitive << status_changed_;
        dont_initialize();
    }
    // All registers as at first; what is under way ends with the next sample.
    void clear() {
        interval_ = address_ = count_ = status_ = 0;
        start_.cancel();
        status_changed_.notify(sc_core::SC_ZERO_TIME);
    }

private:
    void transport(tlm::tlm_generic_payload& transaction, sc_core::sc_time& delay) {
        if (transaction.get_data_length() != 4) {
            transaction.set_response_status(tlm::TLM_BURST_ERROR_RESPONSE);
            return;
        }
        transaction.set_response_status(tlm::TLM_OK_RESPONSE);
        std::uint32_t word = 0;
        if (transaction.is_write()) {
            std::memcpy(&word, transaction.get_data_ptr(), 4);
            delay += sc_core::sc_time(write_ns, sc_core::SC_NS);
            write(transaction.get_address(), word, delay);
        } else {
            delay += sc_core::sc_time(read_ns, sc_core::SC_NS);
            word = read(transaction.get_address(), delay);
            std::memcpy(transaction.get_data_ptr(), &word, 4);
        }
    }
    std::uint32_t read(std::uint64_t at, const sc_core::sc_time& delay) {
        switch (at) {
            case identification:
                return identity;
            case interval_ns:
                return interval_;
            case address:
                return address_;
            case count:
                return count_;
            case status: {
                const std::uint32_t was = status_;
                status_ = 0;
                status_changed_.notify(delay);
                return was;
            }
            default:
                return 0;
        }
    }
    // Writing the count starts it.
    void write(std::uint64_t at, std::uint32_t word, const sc_core::sc_time& delay) {
        if (at == interval_ns) interval_ = word;
        if (at == address) address_ = word;
        if (at != count || word == 0 || count_ != 0) return;
        count_ = word;
        start_.notify(delay);
    }

    void work() {
        for (;;) {
            wait(start_);
            std::uint32_t result = 1;
            while (count_ != 0) {
                wait(sc_core::sc_time(interval_, sc_core::SC_NS));
                if (count_ == 0) break;
                if (!sample()) result = 2;
                address_ += 8;
                --count_;
                if (count_ == 0 || result == 2) {
                    count_ = 0;
                    status_ = result;
                    status_changed_.notify(sc_core::SC_ZERO_TIME);
                }
            }
        }
    }
    bool sample() {
        std::uint64_t time = sc_core::sc_time_stamp().value() / 1000;
        tlm::tlm_generic_payload transaction;
        transaction.set_command(tlm::TLM_WRITE_COMMAND);
        transaction.set_address(address_);
        transaction.set_data_ptr(reinterpret_cast<unsigned char*>(&time));
        transaction.set_data_length(sizeof time);
        transaction.set_streaming_width(sizeof time);
        sc_core::sc_time delay = sc_core::SC_ZERO_TIME;
        memory->b_transport(transaction, delay);
        wait(delay);
        return transaction.is_response_ok();
    }
    void drive() { interrupt.write(status_ != 0); }

    std::uint32_t interval_ = 0, address_ = 0, count_ = 0, status_ = 0;
    sc_core::sc_event start_{"start"}, status_changed_{"status_changed"};
};
