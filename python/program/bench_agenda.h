// `bench agenda`: prints what an event costs in our agenda and in SystemC's own queues.
#pragma once

namespace python {

int bench_agenda();

}  // namespace python
