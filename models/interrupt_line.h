// A wire that asks for an interrupt. "Set" means asserted; the electrical polarity is the wire's own affair.
#pragma once

namespace models {

class InterruptLine {
public:
    virtual void set(bool asserted) = 0;

protected:
    ~InterruptLine() = default;
};

}  // namespace models
