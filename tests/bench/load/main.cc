// The load generator. Reads commands from its standard input, a line each, and answers each with one JSON object on a
// line of its own. tests/bench/README.md lists the commands.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <exception>
#include <iostream>
#include <string>

#include "tests/bench/load/generator.h"

int main() {
  using namespace aphlict::bench;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  prctl(PR_SET_TIMERSLACK, 1UL);  // messages that are due at a time are sent at that time

  Generator generator;
  std::cin.sync_with_stdio(false);
  for (std::string line;;) {
    if (std::cin.rdbuf()->in_avail() <= 0) generator.Idle(STDIN_FILENO);
    if (!std::getline(std::cin, line)) break;
    if (line.empty() || line[0] == '#') continue;
    bool failed = false;
    std::cout << '{';
    try {
      std::cout << generator.Run(Options::Parse(line));
    } catch (const std::exception& failure) {
      failed = true;
      std::cout << "\"error\":\"" << failure.what() << '"';
    }
    std::cout << '}' << std::endl;
    if (failed) return 1;
  }
}
