// The debug-exit port: a test guest writes a value and the scenario gets it. Any access width is taken as it is.
#pragma once

#include <cstdint>

#include "models/io_port_map.h"

namespace models {

class ExitPort {
public:
    virtual void debug_exit(std::uint32_t code) = 0;

protected:
    ~ExitPort() = default;
};

class DebugExit final : public IoDevice {
public:
    static constexpr std::uint16_t port = 0xf4;
    static constexpr unsigned ports = 4;
    static constexpr unsigned widest_bytes = 4;

    explicit DebugExit(ExitPort& exit) : exit_(exit) {}

    std::uint32_t read_port(std::uint16_t, unsigned) override { return ~std::uint32_t{0}; }
    void write_port(std::uint16_t at, unsigned, std::uint32_t value) override {
        if (at == port) exit_.debug_exit(value);
    }

private:
    ExitPort& exit_;
};

}  // namespace models
