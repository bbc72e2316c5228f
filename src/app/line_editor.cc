#include "app/line_editor.h"

#include <histedit.h>

#include <clocale>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "app/state_folder.h"
#include "os/folder.h"

namespace infer::app {
namespace {

constexpr size_t kLineBytesMax = size_t{16} << 20;
constexpr uintmax_t kHistoryBytesMax = uintmax_t{16} << 20;  // A larger file is not ours.

struct CloseEditor {
  void operator()(EditLine* editor) const { el_end(editor); }
};
struct CloseHistory {
  void operator()(History* history) const { history_end(history); }
};

class TerminalEditor final : public LineEditor {
 public:
  explicit TerminalEditor(const std::string& path) : path_(path) {
    // libedit counts characters by the locale; without one, Japanese input would be taken byte by byte.
    if (!std::setlocale(LC_CTYPE, "C.UTF-8")) std::setlocale(LC_CTYPE, "");
    editor_.reset(el_init("inferos", stdin, stdout, stderr));
    history_.reset(history_init());
    HistEvent event;
    history(history_.get(), &event, H_SETSIZE, kHistoryLines);
    history(history_.get(), &event, H_SETUNIQUE, 1);
    std::error_code error;
    if (!path_.empty() && std::filesystem::file_size(path_, error) <= kHistoryBytesMax && !error) {
      history(history_.get(), &event, H_LOAD, path_.c_str());
    }
    configure();
  }

  Line read(const std::string& prompt) override {
    prompt_ = prompt;
    cleared_ = false;
    int count = 0;
    // Between showing the prompt and taking over the keys there is a moment in which Ctrl-C is still a signal.
    const auto outer = std::signal(SIGINT, SIG_IGN);
    const char* text = el_gets(editor_.get(), &count);
    std::signal(SIGINT, outer);
    if (cleared_) {
      std::fputs("\n", stdout);
      return {Outcome::kCleared, ""};
    }
    if (!text || count <= 0) {
      std::fputs("\n", stdout);
      return {Outcome::kEnd, ""};
    }
    std::string line(text, static_cast<size_t>(count));
    if (line.back() == '\n') line.pop_back();
    return {Outcome::kLine, std::move(line)};
  }

  void remember(const std::string& text) override {
    if (text.empty()) return;
    HistEvent event;
    history(history_.get(), &event, H_ENTER, text.c_str());
    if (!path_.empty()) history(history_.get(), &event, H_SAVE, path_.c_str());
  }

 private:
  void configure() {
    EditLine* editor = editor_.get();
    el_set(editor, EL_CLIENTDATA, this);
    el_set(editor, EL_PROMPT, &TerminalEditor::prompt_of);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_SIGNAL, 1);  // The terminal is put right when a signal ends or stops the program.
    el_set(editor, EL_HIST, ::history, history_.get());
    el_source(editor, nullptr);  // The user's own ~/.editrc.
    // While a line is edited Ctrl-C and Ctrl-Z are keys like others and no signals.
    el_set(editor, EL_SETTY, "-d", "-isig", nullptr);
    // The wide variant takes the names as they are; the narrow one loses the copies that it makes.
    el_wset(editor, EL_ADDFN, L"clear-input", L"Leave this line and start a new one", &TerminalEditor::clear_input);
    el_set(editor, EL_BIND, "^C", "clear-input", nullptr);
    el_wset(editor, EL_ADDFN, L"suspend", L"Stop the program until fg", &TerminalEditor::suspend);
    el_set(editor, EL_BIND, "^Z", "suspend", nullptr);
    el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  }

  static TerminalEditor* self(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return static_cast<TerminalEditor*>(data);
  }
  static char* prompt_of(EditLine* editor) { return self(editor)->prompt_.data(); }
  static unsigned char clear_input(EditLine* editor, wint_t) {
    self(editor)->cleared_ = true;
    return CC_EOF;
  }
  static unsigned char suspend(EditLine*, wint_t) {
#ifdef SIGTSTP
    std::raise(SIGTSTP);  // libedit puts the terminal right before, and redraws after.
#endif
    return CC_REFRESH;
  }

  std::string path_;
  std::string prompt_;
  bool cleared_ = false;
  std::unique_ptr<History, CloseHistory> history_;
  std::unique_ptr<EditLine, CloseEditor> editor_;
};

class PipeReader final : public LineEditor {
 public:
  Line read(const std::string&) override {
    std::string text;
    int c = 0;
    while ((c = std::getc(stdin)) != EOF && c != '\n' && text.size() < kLineBytesMax) text += static_cast<char>(c);
    if (c == EOF && text.empty()) return {Outcome::kEnd, ""};
    if (!text.empty() && text.back() == '\r') text.pop_back();
    return {Outcome::kLine, std::move(text)};
  }
  void remember(const std::string&) override {}
};

}  // namespace

std::unique_ptr<LineEditor> LineEditor::for_terminal(const std::string& history_path) {
  return std::make_unique<TerminalEditor>(history_path);
}

std::unique_ptr<LineEditor> LineEditor::for_pipe() { return std::make_unique<PipeReader>(); }

std::string history_path() {
  const std::string folder = state_folder();
  return folder.empty() ? "" : os::path_in(folder, "history");
}

}  // namespace infer::app
